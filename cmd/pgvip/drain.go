package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const (
	// actPatience bounds how long an action may take: a move is waited for.
	actPatience = movePatience + statusPatience
	// tokenVariable has the token for those who have no configuration.
	tokenVariable = "PGVIP_ADMIN_TOKEN"
)

func drainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "Have a running pgvip give the virtual IP away and its clients leave",
		Long: "drain has a running pgvip give the virtual IP to another node, leave the election, and send\n" +
			"its clients away between their transactions; who comes is refused. --undo takes it back:\n" +
			"pgvip is ready again, and takes part in the election. A restart takes it back too.\n\n" +
			"It finds pgvip and the token for acting (admin.token) in the configuration; with --url the\n" +
			"token is that of the environment variable " + tokenVariable + ".",
		Args: cobra.NoArgs,
	}
	path := addConfigFlag(cmd)
	at := cmd.Flags().String("url", "", "where it is, as http://host:7000 (instead of the configuration)")
	undo := cmd.Flags().Bool("undo", false, "take the drain back")
	force := cmd.Flags().Bool("force", false, "also when no other node can take the virtual IP")
	cmd.MarkFlagsMutuallyExclusive("undo", "force")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		asker, err := newAsker(*path, *at)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), actPatience)
		defer cancel()
		action := "/vip/drain"
		query := url.Values{}
		if *undo {
			action = "/vip/ready"
		}
		if *force {
			query.Set("force", "")
		}
		text, err := asker.act(ctx, action, query)
		if err == nil {
			fmt.Fprintln(cmd.OutOrStdout(), text)
		}
		return err
	}
	return cmd
}

// act has pgvip do something, and gives what it says.
func (a *asker) act(ctx context.Context, path string, query url.Values) (string, error) {
	if a.token == "" {
		return "", errNoToken
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, nil)
	if err != nil {
		return "", err
	}
	r.URL.Path, r.URL.RawQuery = path, query.Encode()
	r.Header.Set("Authorization", "Bearer "+a.token)
	answer, err := a.client.Do(r)
	if err != nil {
		return "", fmt.Errorf("no pgvip answers: %w", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(body))
	if answer.StatusCode != http.StatusOK {
		return "", errors.New(text)
	}
	return text, nil
}

// tokenOfEnvironment is for those who name a pgvip by its URL.
func tokenOfEnvironment() string { return strings.TrimSpace(os.Getenv(tokenVariable)) }

// movePatience is how long an operator waits for the address to move.
const movePatience = 5 * time.Second
