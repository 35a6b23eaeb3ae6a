package topology

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/internal/pauses"
)

// ComputeMode says what of the declared programs runs in AWS in an environment.
type ComputeMode string

const (
	// NoCompute runs nothing: there are topic and queues, and who wants to consume does it from elsewhere, such as a laptop.
	NoCompute ComputeMode = "none"
	// Smallest runs every program that is declared as one task of 256 units of CPU and 512 MiB, or two functions at once.
	Smallest ComputeMode = "smallest"
	// Declared runs what is declared, as it is declared.
	Declared ComputeMode = "declared"
)

// Compute says how a service's consumer runs in AWS.
type Compute struct {
	// Kind is Fargate or Lambda. Empty means that the consumer runs elsewhere, and only its queues are declared.
	Kind ComputeKind
	// Repository is the ECR repository of the consumer's image, in the environment's account. Empty means "fanout", whose
	// image is that of the fanout program.
	Repository string
	// MemoryMiB is the memory of one task or function. Zero means 512.
	MemoryMiB int
	// Database says that the service keeps its data in the environment's database. Its consumer finds it by FANOUT_DATABASE, whatever secret
	// RDS keeps for it today. All services use it as one user, each with tables of its own.
	Database bool
	// DatabaseSecret is the name or the ARN of a secret in Secrets Manager that holds the URL of another database, or what RDS keeps of it; the
	// consumer finds it in FANOUT_DATABASE. {env} in it stands for the environment. It is read when a task starts, and for a Lambda function
	// when it is deployed; whoever may read the function's configuration sees it there. Empty means none.
	DatabaseSecret string
	// TokenSecret is the name or the ARN of a secret in Secrets Manager that holds the token which clients of a service that listens must show.
	// {env} in it stands for the environment. It is needed with Port.
	TokenSecret string

	// The rest is for Fargate alone.

	// Port is where the service listens for clients, by HTTP and WebSocket, behind an Application Load Balancer with the environment's
	// certificate; for package push that is where it serves phones. From 1024 to 65535. Zero means that nobody calls it.
	Port int
	// Internal says that its clients are inside the network.
	Internal bool
	// CPU is that of one task, in units of which 1024 are one core: 256, 512, 1024, 2048 or 4096. Zero means 256.
	CPU int
	// MinTasks and MaxTasks bound the number of tasks, from 1. Zeros mean 1, and 4 or MinTasks if that is more. Tasks beyond the number of devices with
	// events waiting find nothing to do.
	MinTasks, MaxTasks int
	// BacklogPerTask is how many waiting messages each task is meant for; more start tasks, fewer stop them. Zero means 500.
	BacklogPerTask int
	// Drain is how long a task that stops may finish what it runs, from the 20 s of a long poll to 100 s: Fargate kills it after
	// two minutes. Zero means 30 s.
	Drain time.Duration

	// Concurrency is how many Lambda functions may run at once, from 2. Zero means 10.
	Concurrency int
}

// ComputeKind is what a consumer runs on.
type ComputeKind string

const (
	Fargate ComputeKind = "fargate" // tasks that run all the time
	Lambda  ComputeKind = "lambda"  // a function that SQS's event source calls
)

var legalRepository = regexp.MustCompile(`^[a-z0-9]+([._-][a-z0-9]+)*(/[a-z0-9]+([._-][a-z0-9]+)*)*$`)

// ShutdownDelay is how long a service with a port goes on serving clients when it is told to stop, until its load balancer has noticed.
const ShutdownDelay = 20 * time.Second

// maxMemory is the most that Fargate has, in MiB.
// See https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html#task_size.
const maxMemory = 30 * 1024

// healthPort is where a task answers its own health check.
const healthPort = 8080

// minDrain is the longest long poll. maxDrain leaves Fargate's two minutes some room for closing databases.
// See https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html.
const (
	minDrain = 20 * time.Second
	maxDrain = 100 * time.Second
)

// maxLambdaTimeout is how long a function may run. See https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html.
const maxLambdaTimeout = 15 * time.Minute

// lambdaBatch is how many events one call of a function gets from a FIFO queue at most.
const lambdaBatch = 10

// LambdaTimeout is how long a function may take for one batch: the handler timeout of every event in it, within what Lambda allows.
func (s Service) LambdaTimeout() time.Duration {
	return min(lambdaBatch*s.HandlerTimeout, maxLambdaTimeout).Round(time.Second)
}

// MinLambdaReceiveCount is the lowest count of a service on Lambda that [Topology.Validate] accepts: package consumers/lambda pauses so
// often in an outage of a little more than four hours. See internal/pauses.
var MinLambdaReceiveCount = pauses.Deliveries(pauses.ShortFor)

// spareReceives are for deliveries that no pause led to: a function that has ended, or an answer of it that was lost.
const spareReceives = 10

// defaultMaxReceiveCount is that of a service which declares none; the doc comment of MaxReceiveCount says how it is found.
func (s Service) defaultMaxReceiveCount() int {
	switch {
	case s.GroupPolicy == failure.Block:
		return maxReceiveCount
	case s.Compute.Kind != Lambda:
		return DefaultMaxReceiveCount
	}
	crashes := maxReceiveCount
	if v := s.VisibilityTimeout(); v > 0 {
		crashes = int(s.Retention / 2 / v)
	}
	return max(MinLambdaReceiveCount, min(crashes, pauses.Deliveries(s.Retention)+spareReceives, maxReceiveCount))
}

// in is what runs in an environment, which has its defaults.
func (c Compute) in(e Environment) Compute {
	if e.Compute == NoCompute {
		return Compute{}
	}
	c = c.withDefaults()
	c.DatabaseSecret, c.TokenSecret = in(e.Name, c.DatabaseSecret), in(e.Name, c.TokenSecret)
	if c.Kind == Fargate && e.Tasks != (Tasks{}) {
		c.MinTasks, c.MaxTasks = e.Tasks.Min, e.Tasks.Max
	}
	if e.Compute == Smallest {
		switch c.Kind {
		case Fargate:
			c.CPU, c.MemoryMiB, c.MinTasks, c.MaxTasks = 256, 512, 1, 1
		case Lambda:
			c.Concurrency = 2
		}
	}
	return c
}

// faultsIn lists what a service's consumer wants and an environment has not. The environment has its defaults.
func (c Compute) faultsIn(e Environment) []string {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, "compute: "+fmt.Sprintf(format, args...)) }
	c = c.in(e)
	if text := e.Network.unfit(); c.Kind == Fargate && text != "" {
		fault("it runs on %s in environment %q: network: %s; or say \"compute\": %q there", Fargate, e.Name, text, NoCompute)
	}
	if c.Database && e.Database.Kind == "" {
		fault("it keeps its data in the environment's database, but environment %q has none; declare one, such as \"database\": {\"kind\": %q}", e.Name, Postgres)
	}
	if c.Port == 0 {
		return faults
	}
	if c.MaxTasks > 1 && !c.Database && c.DatabaseSecret == "" {
		fault("tasks: got up to %d of a service with a port and without a database in environment %q, want MaxTasks 1: each would hear a part of the events; or say Database, by which every task hears them all", c.MaxTasks, e.Name)
	}
	if e.Certificate == "" {
		fault("port: environment %q has no certificate for its load balancer; declare certificate, the ARN of one in ACM", e.Name)
	}
	if n := e.Network; n.VPC != "" && len(n.Subnets) < 2 {
		fault("port: environment %q has %d subnets, want two in two availability zones at least: a load balancer for HTTP takes no fewer", e.Name, len(n.Subnets))
	}
	if n := e.Network; !c.Internal && !n.none() && !n.Made() && len(n.PublicSubnets) == 0 {
		fault("port: environment %q has no public subnets for its load balancer; name network.public_subnets, or say Internal", e.Name)
	}
	return faults
}

func (c Compute) withDefaults() Compute {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	if c.Kind == "" {
		return c
	}
	if c.Repository == "" {
		c.Repository = "fanout"
	}
	set(&c.MemoryMiB, 512)
	switch c.Kind {
	case Fargate:
		set(&c.CPU, 256)
		set(&c.MinTasks, 1)
		set(&c.MaxTasks, max(4, c.MinTasks))
		set(&c.BacklogPerTask, 500)
		if c.Drain == 0 {
			c.Drain = 30 * time.Second
		}
	case Lambda:
		set(&c.Concurrency, 10)
	}
	return c
}

// faults lists what is wrong with how a service's consumer runs.
func (c Compute) faults(s Service) []string {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, "compute: "+fmt.Sprintf(format, args...)) }
	if c.Repository != "" && !legalRepository.MatchString(c.Repository) {
		fault("repository: got %q, want the name of one in ECR, such as fanout or team/fanout", c.Repository)
	}
	if c.Database && c.DatabaseSecret != "" {
		fault("database: got the environment's and the secret %q, want one of them", c.DatabaseSecret)
	}
	if c.DatabaseSecret != "" {
		if text := secretFault("database secret", c.DatabaseSecret); text != "" {
			fault("%s", text)
		}
	}
	if c.TokenSecret != "" {
		if text := secretFault("token secret", c.TokenSecret); text != "" {
			fault("%s", text)
		}
	}
	if c.Kind != Fargate && c.Kind != "" && (c.Port != 0 || c.TokenSecret != "") {
		fault("port: got %d for %s, want none: clients stay connected to a service that listens, so use %s", c.Port, c.Kind, Fargate)
	}
	switch c.Kind {
	case "":
		if c != (Compute{}) {
			fault("kind: got none with other settings, want %s or %s", Fargate, Lambda)
		}
		return faults
	case Fargate:
		if !slices.Contains([]int{256, 512, 1024, 2048, 4096}, c.CPU) {
			fault("CPU: got %d, want 256, 512, 1024, 2048 or 4096", c.CPU)
		} else if low, high := 2*c.CPU, min(8*c.CPU, maxMemory); c.MemoryMiB < low || c.MemoryMiB > high {
			fault("memory: got %d MiB, want from %d to %d with %d units of CPU", c.MemoryMiB, low, high, c.CPU)
		} else if c.MemoryMiB%1024 != 0 && c.MemoryMiB != 512 {
			fault("memory: got %d MiB, want 512 or a multiple of 1024: Fargate has no sizes between", c.MemoryMiB)
		}
		if c.MinTasks < 1 || c.MaxTasks < c.MinTasks {
			fault("tasks: got from %d to %d, want at least 1 and a maximum not below the minimum", c.MinTasks, c.MaxTasks)
		}
		if c.Port != 0 && (c.Port < 1024 || c.Port > 65535 || c.Port == healthPort) {
			fault("port: got %d, want one from 1024 to 65535 but %d, which is that of health checks", c.Port, healthPort)
		}
		if c.Port != 0 && c.Drain > maxDrain-ShutdownDelay {
			fault("drain: got %v of a service with a port, want at most %v: before it, its load balancer takes %v to notice", c.Drain, maxDrain-ShutdownDelay, ShutdownDelay)
		}
		if (c.Port != 0) != (c.TokenSecret != "") {
			fault("port: got %d and the token secret %q, want both or neither: whoever reaches the load balancer must show a token", c.Port, c.TokenSecret)
		}
		if c.BacklogPerTask < 1 {
			fault("backlog per task: got %d, want at least 1", c.BacklogPerTask)
		}
		if c.Drain < minDrain || c.Drain > maxDrain || c.Drain%time.Second != 0 {
			fault("drain: got %v, want whole seconds from %v to %v: the last long poll ends by itself, and Fargate kills a task after two minutes", c.Drain, minDrain, maxDrain)
		}
		if s.Standard {
			fault("kind: got %s with a standard queue; the package consumers reads FIFO queues only, so use %s", Fargate, Lambda)
		}
	case Lambda:
		if c.MemoryMiB < 128 || c.MemoryMiB > 10240 {
			fault("memory: got %d MiB, want from 128 to 10240", c.MemoryMiB)
		}
		if c.Concurrency < 2 || c.Concurrency > 1000 {
			fault("concurrency: got %d, want from 2 to 1000", c.Concurrency)
		}
		if s.GroupPolicy == failure.Park || s.GroupPolicy == failure.Block {
			fault("kind: got %s with the group policy %s, want %s: a function ends, so that it can't hold a device's later events back; use %s, or let them go on",
				Lambda, s.GroupPolicy, failure.Skip, Fargate)
		} else if s.MaxReceiveCount < MinLambdaReceiveCount {
			fault("kind: got %s with a max receive count of %d, want at least %d: each pause of an outage ends in a receive, and four hours take that many",
				Lambda, s.MaxReceiveCount, MinLambdaReceiveCount)
		}
		if s.HandlerTimeout > maxLambdaTimeout {
			fault("kind: got %s with a handler timeout of %v, want at most %v, or %s", Lambda, s.HandlerTimeout, maxLambdaTimeout, Fargate)
		}
	default:
		fault("kind: got %q, want %s or %s", c.Kind, Fargate, Lambda)
	}
	return faults
}
