package address

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// ms makes times of numbers of milliseconds.
func ms(list ...int) []time.Duration {
	var all []time.Duration
	for _, n := range list {
		all = append(all, time.Duration(n)*time.Millisecond)
	}
	return all
}

func TestSchedule(t *testing.T) {
	tests := []struct {
		name   string
		s      schedule
		rivals []time.Duration
		until  time.Duration
		want   []time.Duration
	}{
		{
			name:  "keepalived's defaults",
			s:     schedule{delay: 5 * time.Second, repeat: 5},
			until: time.Minute,
			want:  ms(0, 50, 200, 1000, 2000, 5000, 5050, 5200, 6000, 7000),
		},
		{
			name:  "refreshed",
			s:     schedule{delay: 5 * time.Second, repeat: 1, refresh: 10 * time.Second},
			until: 30 * time.Second,
			want:  ms(0, 5000, 15000, 25000),
		},
		{
			name:  "no second set",
			s:     schedule{repeat: 7},
			until: time.Minute,
			want:  ms(0, 50, 200, 1000, 2000, 3000, 4000),
		},
		{
			name:  "a delay shorter than the set",
			s:     schedule{delay: 100 * time.Millisecond, repeat: 4},
			until: time.Minute,
			want:  ms(0, 50, 200, 1000, 2000, 2050, 2200, 3000),
		},
		{
			name:  "repeat of nothing is one",
			s:     schedule{},
			until: time.Minute,
			want:  ms(0),
		},
		{
			name:   "answers to a rival that goes on wait longer and longer",
			s:      schedule{repeat: 1},
			rivals: ms(10000, 10001, 10002, 10150, 10350, 10700, 11600, 13100, 16000, 21000),
			until:  time.Minute,
			want:   ms(0, 10000, 10100, 10300, 10700, 11600, 13200, 16400, 21400),
		},
		{
			name:   "after peace a rival is answered at once again",
			s:      schedule{repeat: 1},
			rivals: ms(10000, 10010, 10110, 30000, 30010),
			until:  time.Minute,
			want:   ms(0, 10000, 10100, 10300, 30000, 30100),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := run(&tt.s, tt.rivals, tt.until); !slices.Equal(got, tt.want) {
				t.Errorf("sent at %v, want %v", got, tt.want)
			}
		})
	}
}

// run starts a schedule at an hour after boot and gives the times after that at which
// it announced.
func run(s *schedule, rivals []time.Duration, until time.Duration) []time.Duration {
	const began = time.Hour
	s.start(began)
	var sent []time.Duration
	for {
		now := s.wake()
		if len(rivals) > 0 && began+rivals[0] <= now {
			now = began + rivals[0]
			s.rival(now)
			rivals = rivals[1:]
		}
		if now > began+until {
			return sent
		}
		s.asks(now)
		if s.due(now) {
			sent = append(sent, now-began)
		}
	}
}

func TestScheduleDoesNotMakeUpForWhatItMissed(t *testing.T) {
	s := schedule{delay: 5 * time.Second, repeat: 5, refresh: time.Minute}
	s.start(0)
	if !s.due(time.Hour) {
		t.Error("nothing is due an hour late")
	}
	if s.due(time.Hour) {
		t.Error("two announcements at one time")
	}
	s.ask = never
	if got, want := s.wake(), time.Hour+time.Minute; got != want {
		t.Errorf("the next is due at %v, want %v", got, want)
	}
}

func TestAsksAsLongAsItRuns(t *testing.T) {
	s := schedule{repeat: 1}
	if s.asks(time.Hour) {
		t.Error("a schedule that was not started asks")
	}
	s.start(time.Hour)
	s.due(time.Hour)
	var asked []time.Duration
	for now := s.wake(); now < time.Hour+12*time.Second; now = s.wake() {
		if s.asks(now) {
			asked = append(asked, now-time.Hour)
		}
	}
	if want := ms(0, 5000, 10000); !slices.Equal(asked, want) {
		t.Errorf("asked at %v, want %v", asked, want)
	}
	s.stop()
	if s.asks(2*time.Hour) || s.wake() != never {
		t.Error("a schedule that was stopped asks")
	}
}

func TestStoppedScheduleIsQuiet(t *testing.T) {
	s := schedule{repeat: 5, refresh: time.Second}
	s.rival(time.Second)
	if s.due(time.Hour) || s.wake() != never {
		t.Error("a schedule that was not started announces")
	}
	s.start(0)
	s.rival(0)
	s.stop()
	s.rival(time.Second)
	if s.due(time.Hour) || s.wake() != never {
		t.Error("a schedule that was stopped announces")
	}
}

// However a rival behaves, it draws few announcements, and the last word is ours.
func TestNoStormOfAnswers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gaps := rapid.SliceOfN(rapid.IntRange(0, 2000), 1, 200).Draw(t, "gaps")
		var rivals []time.Duration
		now := 10 * time.Second
		for _, g := range gaps {
			now += time.Duration(g) * time.Millisecond
			rivals = append(rivals, now)
		}
		s := schedule{repeat: 1}
		sent := run(&s, rivals, now+rivalMost)
		// Six waits get to the longest one.
		if most := 8 + int((now-10*time.Second)/rivalMost) + 1; len(sent) > most {
			t.Fatalf("%d announcements against %d claims in %v, want at most %d", len(sent), len(rivals), now, most)
		}
		if last := sent[len(sent)-1]; last < now {
			t.Fatalf("the last announcement is at %v, the last claim at %v", last, now)
		}
	})
}
