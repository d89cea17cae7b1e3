package console

import "testing"

func TestShowVIP(t *testing.T) {
	wantRows(t, "SHOW VIP",
		"address=10.0.0.100 interface=eth0 state=ACTIVE since=2026-11-24 01:02:03 UTC holds=1 owner=lb1 epoch=12 arbiter=etcd until_ms=431 "+
			"priority=150 drained=0 reason=owns the address keeper_pid=4712 keeper_ms_ago=40 adverts_sent=1 adverts_received=2 became_active=3 "+
			"gave_up=4 refuted=5 announcements=6 readded=7 conflicts=8 tickled=9")
}

func TestShowCluster(t *testing.T) {
	wantRows(t, "SHOW CLUSTER",
		"name=lb1 address=10.0.0.5:7946 presence=here for_ms=3600000 heard_ms_ago=0 vip_state=ACTIVE vip_holds=1 vip_epoch=12 vip_clients=400 "+
			"listening=1 blind=0 healthy_servers=3 weight=0 fault=- version=0.9.0 peer_id=1 same_config=1 uptime=3600 trouble=-",
		"name=lb2 address=10.0.0.6:7946 presence=never seen for_ms=60000 heard_ms_ago=- vip_state=- vip_holds=0 vip_epoch=0 vip_clients=0 "+
			"listening=0 blind=0 healthy_servers=0 weight=0 fault=- version=- peer_id=0 same_config=1 uptime=0 trouble=refused")
}
