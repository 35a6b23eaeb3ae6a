package topology

import (
	"fmt"
	"slices"
	"time"

	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/internal/pauses"
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
	// DatabaseSecret is the name of the secret in Secrets Manager that holds the URL of the service's database, or what RDS keeps of it; the
	// consumer finds it in FANOUT_DATABASE. Whoever may read a Lambda function's configuration sees it there. Empty means none.
	DatabaseSecret string

	// The rest is for Fargate alone.

	// CPU is that of one task, in units of which 1024 are one core: 256, 512, 1024, 2048 or 4096. Zero means 256.
	CPU int
	// MinTasks and MaxTasks bound the number of tasks, from 1. Zeros mean 1 and 4. Tasks beyond the number of devices with
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
	switch c.Kind {
	case "":
		if c != (Compute{}) {
			fault("kind: got none with other settings, want %s or %s", Fargate, Lambda)
		}
		return faults
	case Fargate:
		if !slices.Contains([]int{256, 512, 1024, 2048, 4096}, c.CPU) {
			fault("CPU: got %d, want 256, 512, 1024, 2048 or 4096", c.CPU)
		} else if c.MemoryMiB < 2*c.CPU || c.MemoryMiB > 8*c.CPU {
			fault("memory: got %d MiB, want from %d to %d with %d units of CPU", c.MemoryMiB, 2*c.CPU, 8*c.CPU, c.CPU)
		}
		if c.MinTasks < 1 || c.MaxTasks < c.MinTasks {
			fault("tasks: got from %d to %d, want at least 1 and a maximum not below the minimum", c.MinTasks, c.MaxTasks)
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
