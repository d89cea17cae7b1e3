// Package instance is one virtual router as RFC 9568 has it, with keepalived's Fault:
// what owns the addresses when there is no arbiter, and what a keepalived of the same
// virtual router gets along with. It is a pure function of what it is told and of
// the time; it opens nothing and sends nothing, it returns actions.
//
//	                Start, priority 255
//	       .---------------------------------------.
//	       |                                       v
//	  .------------.  Start   .--------.  down    .--------.
//	  | Initialize |--------->| Backup |--------->| Active |
//	  '------------'          '--------'  timer   '--------'
//	     ^    ^   ^            |  ^  ^               |  |  |
//	     |    |   '----Stop----'  |  '---------------'  |  |
//	     |    |                   |    a better router  |  |
//	Stop |    '-------------------+---- or own pause ---+--' Stop
//	     |                        |                     |
//	  .-------.  Fault("")        |                     |
//	  | Fault |-------------------'                     |
//	  '-------'<------------ Fault(why) ----------------'   (from Backup, too)
//
// A better router is one of a higher priority, or of the same with a higher primary
// address (section 6.4.3). Two routers can be Active at once, when they do not hear
// each other: VRRP knows nothing against that.
//
// Beyond the RFC, a router whose own process stood still does not trust what it
// knew before: an Active one, for whom a Backup may have stepped in meanwhile, becomes
// Backup and listens; a Backup whose timer ran out long ago listens before it takes over,
// since the adverts may still lie in its socket.
package instance
