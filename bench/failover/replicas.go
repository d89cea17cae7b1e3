package failover

func replicaFaults() []Scenario { return nil }

func strangers() []Scenario { return nil }

func specials() []Scenario { return nil }
