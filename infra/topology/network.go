package topology

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
)

// Network is where tasks and databases of an environment are: in an existing VPC, or in one that is made for the environment. The zero value
// is none.
type Network struct {
	// VPC is an existing one, such as vpc-0a1b2c3d4e5f67890. Subnets are private ones of it, and PublicSubnets those where load balancers
	// listen to the internet, with an availability zone for each, in the same order. PublicSubnets may be left out where nothing listens
	// to the internet.
	VPC               string   `json:"vpc"`
	AvailabilityZones []string `json:"availability_zones"`
	Subnets           []string `json:"subnets"`
	PublicSubnets     []string `json:"public_subnets"`
	// CIDR makes a VPC of these addresses, such as 10.42.0.0/16: from a /16 to a /24, with a private and a public subnet in every zone. It is
	// instead of an existing one.
	CIDR string `json:"cidr"`
	// Zones is in how many availability zones a VPC that is made has subnets, 2 or 3. Zero means 2.
	Zones int `json:"zones"`
	// WayOut is how tasks in the private subnets reach SNS and SQS. Empty means ByEndpoints for a VPC that is made; for an existing one it
	// must be said, once something runs there.
	WayOut WayOut `json:"way_out"`
}

// WayOut is how what has no public address reaches the services of AWS.
type WayOut string

const (
	// ByEndpoints is by interface endpoints for SNS, SQS, KMS, logs, secrets and the registry of images. Nothing else can be reached. A VPC
	// that is made gets them; an existing one must have them.
	ByEndpoints WayOut = "endpoints"
	// ByNAT is by a NAT gateway: the internet can be reached. A VPC that is made gets one for all its zones, which costs less than endpoints
	// and is gone when its zone is; in an existing one the subnets' routes must lead to one.
	ByNAT WayOut = "nat"
)

// none tells whether there is no network.
func (n Network) none() bool { return n.VPC == "" && n.CIDR == "" }

// Made tells whether the network is made for the environment.
func (n Network) Made() bool { return n.CIDR != "" }

var (
	legalVPC    = regexp.MustCompile(`^vpc-[0-9a-f]{8,17}$`)
	legalSubnet = regexp.MustCompile(`^subnet-[0-9a-f]{8,17}$`)
)

func (n Network) withDefaults() Network {
	if n.Made() {
		if n.Zones == 0 {
			n.Zones = 2
		}
		if n.WayOut == "" {
			n.WayOut = ByEndpoints
		}
	}
	return n
}

// unfit says why nothing can run in a network, or is empty.
func (n Network) unfit() string {
	switch {
	case n.none():
		return `there is no network; declare one: an existing VPC, or a CIDR to make one, such as "network": {"cidr": "10.42.0.0/16"}`
	case n.WayOut == "":
		return fmt.Sprintf("way_out: missing; say how tasks in the subnets of %s reach SNS and SQS: %q if their route leads to a NAT gateway, %q if the VPC has interface endpoints for sns, sqs, logs, secretsmanager, ecr.api, ecr.dkr and, with customer keys, kms, and one of type gateway for s3",
			n.VPC, ByNAT, ByEndpoints)
	}
	return ""
}

// faults lists what is wrong with a network by itself.
func (n Network) faults() []string {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, "network: "+fmt.Sprintf(format, args...)) }
	if n.VPC != "" && n.CIDR != "" {
		fault("got the VPC %q and the CIDR %q, want an existing VPC, or a CIDR to make one", n.VPC, n.CIDR)
		return faults
	}
	if n.Made() {
		prefix, err := netip.ParsePrefix(n.CIDR)
		if err != nil || !prefix.Addr().Is4() || prefix != prefix.Masked() || prefix.Bits() < 16 || prefix.Bits() > 24 {
			fault("cidr: got %q, want one from a /16 to a /24, such as 10.42.0.0/16", n.CIDR)
		}
		if n.Zones != 0 && n.Zones != 2 && n.Zones != 3 {
			fault("zones: got %d, want 2 or 3", n.Zones)
		}
		if len(n.AvailabilityZones)+len(n.Subnets)+len(n.PublicSubnets) > 0 {
			fault("got a CIDR and subnets or availability zones; a VPC that is made has its own: say zones, how many")
		}
	} else {
		if zones := len(n.AvailabilityZones); len(n.Subnets) != zones || len(n.PublicSubnets) != 0 && len(n.PublicSubnets) != zones || (n.VPC == "") != (zones == 0) {
			fault("got %d subnets in %d availability zones, and %d public ones, of VPC %q, want a VPC and a zone for every subnet, or none of them",
				len(n.Subnets), zones, len(n.PublicSubnets), n.VPC)
		}
		if n.VPC != "" && !legalVPC.MatchString(n.VPC) {
			fault("vpc: got %q, want one such as vpc-0a1b2c3d4e5f67890", n.VPC)
		}
		for i, zone := range n.AvailabilityZones {
			if slices.Contains(n.AvailabilityZones[:i], zone) {
				fault("availability_zones: got %q twice, want a zone of its own for every subnet: load balancers and file systems take one subnet of each", zone)
			}
		}
		for _, subnet := range append(append([]string(nil), n.Subnets...), n.PublicSubnets...) {
			if !legalSubnet.MatchString(subnet) {
				fault("subnets: got %q, want one such as subnet-0a1b2c3d4e5f67890", subnet)
			}
		}
		if n.Zones != 0 {
			fault("zones: got %d without a CIDR; an existing VPC names its availability_zones", n.Zones)
		}
		if n.VPC == "" && n.WayOut != "" {
			fault("way_out: got %q without a network; say vpc or cidr", n.WayOut)
		}
	}
	if n.WayOut != "" && n.WayOut != ByEndpoints && n.WayOut != ByNAT {
		fault("way_out: got %q, want %q or %q", n.WayOut, ByEndpoints, ByNAT)
	}
	return faults
}
