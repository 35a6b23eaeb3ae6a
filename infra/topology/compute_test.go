package topology_test

import (
	"strings"
	"testing"
	"time"

	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/topology"
)

const certificate = "arn:aws:acm:eu-central-1:111122223333:certificate/0a1b2c3d-0000-4000-8000-0123456789ab"

// running is the declaration with a gateway, a database and push for several tasks in prod, and nothing that runs elsewhere.
func running() topology.Topology {
	top := declaration.Topology()
	for i := range top.Environments {
		top.Environments[i].Compute = topology.NoCompute
	}
	prod := &top.Environments[2]
	prod.Compute, prod.Network, prod.Certificate = topology.Declared, topology.Network{CIDR: "10.42.0.0/16"}, certificate
	prod.Gateway, prod.Database = &topology.Gateway{KeysSecret: "{env}/keys"}, topology.Database{Kind: topology.Postgres}
	top.Services[0].Compute = topology.Compute{Kind: topology.Fargate, Database: true}
	top.Services[1].Compute = topology.Compute{Kind: topology.Lambda, DatabaseSecret: "{env}/state"}
	top.Services[2].Compute = topology.Compute{Kind: topology.Fargate, Database: true, Port: 4567, TokenSecret: "{env}/push-token", MinTasks: 2}
	return top
}

func TestCompute_IsOfTheEnvironment(t *testing.T) {
	t.Parallel()
	in := func(name string, change func(e *topology.Environment)) topology.Deployment {
		top := running()
		if change != nil {
			change(&top.Environments[2])
		}
		d, err := top.In(name)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := in("prod", nil)
	if g := d.Environment.Gateway; g.KeysSecret != "prod/keys" || g.Spool != topology.NoSpool || g.Tasks != (topology.Tasks{Min: 2, Max: 8}) || g.EventsPerTask != 500 {
		t.Errorf("gateway: got %+v", g)
	}
	if n := d.Environment.Network; n.Zones != 2 || n.WayOut != topology.ByEndpoints {
		t.Errorf("network: got %+v", n)
	}
	if db := d.Environment.Database; db.Instance != "t4g.medium" || !db.Standby || db.BackupDays != 14 {
		t.Errorf("database: got %+v", db)
	}
	if c := d.Services[1].Compute; c.DatabaseSecret != "prod/state" {
		t.Errorf("state: got the secret %q", c.DatabaseSecret)
	}
	if c := d.Services[2].Compute; c.TokenSecret != "prod/push-token" || c.MinTasks != 2 || c.MaxTasks != 4 {
		t.Errorf("push: got %+v", c)
	}
	if d.Environment.Watch != topology.WatchAll || d.Environment.Lifetime != 0 {
		t.Errorf("got watch %q, lifetime %v", d.Environment.Watch, d.Environment.Lifetime)
	}

	d = in("prod", func(e *topology.Environment) { e.Compute = topology.Smallest })
	if history, state := d.Services[0].Compute, d.Services[1].Compute; history.MaxTasks != 1 || history.CPU != 256 || history.MemoryMiB != 512 || state.Concurrency != 2 {
		t.Errorf("smallest: got %+v and %+v", history, state)
	}
	if g := d.Environment.Gateway; g.Tasks != (topology.Tasks{Min: 1, Max: 1}) {
		t.Errorf("smallest: got the gateway %+v", g)
	}
	d = in("prod", func(e *topology.Environment) { e.Tasks = topology.Tasks{Min: 3, Max: 5} })
	if c := d.Services[0].Compute; c.MinTasks != 3 || c.MaxTasks != 5 {
		t.Errorf("tasks of the environment: got %+v", c)
	}

	d = in("feature-x", nil)
	for _, s := range d.Services {
		if s.Compute != (topology.Compute{}) {
			t.Errorf("%s: got %+v in an environment that runs nothing", s.Name, s.Compute)
		}
	}
	if d.Environment.Watch != topology.WatchNothing || d.Environment.Lifetime != topology.DefaultLifetime {
		t.Errorf("feature-x: got watch %q, lifetime %v", d.Environment.Watch, d.Environment.Lifetime)
	}
}

func TestCompute_SaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(prod *topology.Environment, services []topology.Service)
		want   string
	}{
		"compute without network": {func(e *topology.Environment, s []topology.Service) {
			e.Network, e.Gateway, e.Database = topology.Network{}, nil, topology.Database{}
		}, `service "history" (entry 1): compute: it runs on fargate in environment "prod": network: there is no network; declare one: an existing VPC, or a CIDR to make one, such as "network": {"cidr": "10.42.0.0/16"}; or say "compute": "none" there`},
		"subnets without way out": {func(e *topology.Environment, s []topology.Service) {
			e.Network = topology.Network{VPC: "vpc-0a1b2c3d", AvailabilityZones: []string{"eu-central-1a"}, Subnets: []string{"subnet-0a1b2c3d"}}
		}, `network: way_out: missing; say how tasks in the subnets of vpc-0a1b2c3d reach SNS and SQS: "nat" if`},
		"made and existing": {func(e *topology.Environment, s []topology.Service) { e.Network.VPC = "vpc-0a1b2c3d" }, "want an existing VPC, or a CIDR to make one"},
		"odd CIDR":          {func(e *topology.Environment, s []topology.Service) { e.Network.CIDR = "10.42.0.1/16" }, `network: cidr: got "10.42.0.1/16", want one from a /16 to a /24`},
		"zones":             {func(e *topology.Environment, s []topology.Service) { e.Network.Zones = 4 }, "network: zones: got 4, want 2 or 3"},
		"way out":           {func(e *topology.Environment, s []topology.Service) { e.Network.WayOut = "vpn" }, `network: way_out: got "vpn", want "endpoints" or "nat"`},
		"no secret ARN": {func(e *topology.Environment, s []topology.Service) {
			e.Gateway.KeysSecret = "arn:aws:ssm:eu-central-1:111122223333:parameter/keys"
		}, `gateway: keys_secret: got "arn:aws:ssm:eu-central-1:111122223333:parameter/keys", want the whole ARN of a secret`},
		"part of a secret ARN": {func(e *topology.Environment, s []topology.Service) {
			s[1].Compute.DatabaseSecret = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:state"
		}, "compute: database secret: got"},
		"no keys":                {func(e *topology.Environment, s []topology.Service) { e.Gateway.KeysSecret = "" }, "gateway: keys_secret: missing; want the name or the ARN"},
		"tasks below 1":          {func(e *topology.Environment, s []topology.Service) { e.Tasks = topology.Tasks{Min: 0, Max: 2} }, "tasks: got from 0 to 2, want at least 1"},
		"gateway's tasks":        {func(e *topology.Environment, s []topology.Service) { e.Gateway.Tasks.Min = -1 }, "gateway: tasks: got from -1 to 8, want at least 1"},
		"push without fan-in":    {func(e *topology.Environment, s []topology.Service) { s[2].Compute.Database = false }, `compute: tasks: got up to 4 of a service with a port and without a database in environment "prod", want MaxTasks 1`},
		"push without a token":   {func(e *topology.Environment, s []topology.Service) { s[2].Compute.TokenSecret = "" }, `compute: port: got 4567 and the token secret "", want both or neither`},
		"push on Lambda":         {func(e *topology.Environment, s []topology.Service) { s[2].Compute.Kind = topology.Lambda }, "compute: port: got 4567 for lambda, want none"},
		"long drain with a port": {func(e *topology.Environment, s []topology.Service) { s[2].Compute.Drain = 90 * time.Second }, "drain: got 1m30s of a service with a port, want at most 1m20s"},
		"port of health checks":  {func(e *topology.Environment, s []topology.Service) { s[2].Compute.Port = 8080 }, "want one from 1024 to 65535 but 8080"},
		"no certificate":         {func(e *topology.Environment, s []topology.Service) { e.Certificate = "" }, "gateway: there is no certificate; declare certificate"},
		"certificate elsewhere":  {func(e *topology.Environment, s []topology.Service) { e.Region = "eu-west-1" }, "certificate: got one of region eu-central-1, want one of eu-west-1"},
		"certificate of others":  {func(e *topology.Environment, s []topology.Service) { e.Account = "999999999999" }, "certificate: got one of account 111122223333, want one of 999999999999"},
		"one zone with a port": {func(e *topology.Environment, s []topology.Service) {
			e.Network = topology.Network{VPC: "vpc-0a1b2c3d", AvailabilityZones: []string{"eu-central-1a"}, Subnets: []string{"subnet-0a1b2c3d"}, PublicSubnets: []string{"subnet-0a1b2c3e"}, WayOut: topology.ByNAT}
		}, `compute: port: environment "prod" has 1 subnets, want two`},
		"memory between the sizes": {func(e *topology.Environment, s []topology.Service) { s[0].Compute.MemoryMiB = 600 }, "memory: got 600 MiB, want 512 or a multiple of 1024"},
		"memory that Fargate has not": {func(e *topology.Environment, s []topology.Service) {
			s[0].Compute.CPU, s[0].Compute.MemoryMiB = 4096, 32768
		}, "memory: got 32768 MiB, want from 8192 to 30720"},
		"repository":         {func(e *topology.Environment, s []topology.Service) { s[0].Compute.Repository = "a--b" }, `repository: got "a--b", want the name of one in ECR`},
		"the gateway's task": {func(e *topology.Environment, s []topology.Service) { s[0].Name = "gateway-mqtt" }, `name: "gateway-mqtt" is the name`},
		"two subnets in a zone": {func(e *topology.Environment, s []topology.Service) {
			e.Network = topology.Network{VPC: "vpc-0a1b2c3d", AvailabilityZones: []string{"a", "a"}, Subnets: []string{"subnet-0a1b2c3d", "subnet-0a1b2c3e"}, WayOut: topology.ByNAT}
		}, `network: availability_zones: got "a" twice`},
		"zone of another region": {func(e *topology.Environment, s []topology.Service) {
			e.Network = topology.Network{VPC: "vpc-0a1b2c3d", AvailabilityZones: []string{"eu-west-1a"}, Subnets: []string{"subnet-0a1b2c3d"}, WayOut: topology.ByNAT}
		}, `network: availability_zones: got "eu-west-1a", want one of eu-central-1`},
		"no database":             {func(e *topology.Environment, s []topology.Service) { e.Database = topology.Database{} }, `environment "prod" has none; declare one, such as "database": {"kind": "postgres"}`},
		"two databases":           {func(e *topology.Environment, s []topology.Service) { s[0].Compute.DatabaseSecret = "x" }, `database: got the environment's and the secret "x"`},
		"kind of database":        {func(e *topology.Environment, s []topology.Service) { e.Database.Kind = "mysql" }, `database: kind: got "mysql", want postgres or aurora-serverless`},
		"capacity of an instance": {func(e *topology.Environment, s []topology.Service) { e.Database.MaxCapacity = 2 }, "database: capacity: got from 0 to 2 for postgres, want none"},
		"capacity": {func(e *topology.Environment, s []topology.Service) {
			e.Database = topology.Database{Kind: topology.AuroraServerless, MinCapacity: 0.7}
		}, "database: capacity: got from 0.7 to 4, want halves"},
		"MQTT without way out": {func(e *topology.Environment, s []topology.Service) {
			e.Gateway.MQTT = &topology.MQTT{Broker: "ssl://b.example.com"}
		}, `gateway: mqtt: a task could not reach "ssl://b.example.com"`},
		"MQTT with a password": {func(e *topology.Environment, s []topology.Service) {
			e.Gateway.MQTT = &topology.MQTT{Broker: "ssl://u:p@b.example.com"}
		}, "gateway: mqtt: broker: want a URL such as ssl://broker.example.com:8883, without a user"},
		"gateway that runs nowhere": {func(e *topology.Environment, s []topology.Service) { e.Compute = topology.NoCompute }, `gateway: declared, but compute is "none"`},
		"unwatched":                 {func(e *topology.Environment, s []topology.Service) { e.Watch = topology.WatchNothing }, "watch: got none in production, want all"},
		"lifetime":                  {func(e *topology.Environment, s []topology.Service) { e.Lifetime = 24 * time.Hour }, "lifetime: got 24h0m0s for an environment that stays"},
		"compute":                   {func(e *topology.Environment, s []topology.Service) { e.Compute = "big" }, `compute: got "big", want none, smallest or declared`},
		"name of the gateway":       {func(e *topology.Environment, s []topology.Service) { s[0].Name = "gateway" }, `name: "gateway" is the name of the environment's own stack`},
	} {
		top := running()
		c.change(&top.Environments[2], top.Services)
		if err := top.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want it to say %q", name, err, c.want)
		}
	}
}
