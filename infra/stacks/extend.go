package stacks

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecs"
	elb "github.com/aws/aws-cdk-go/awscdk/v2/awselasticloadbalancingv2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/jsii-runtime-go"

	"github.com/device-fanout/fanout/infra/topology"
)

// Stacks are the stacks of one environment, for [App.Extend] to add to. Names of a team's own resources should begin with
// Deployment.Scope() and a hyphen, so that those of two environments differ.
//
// A service's own stack is the place for what that service needs. What refers to a resource of another stack makes CloudFormation
// export it there, and the two stacks can then be changed and deleted in one order only.
type Stacks struct {
	// App is the root of all stacks.
	App awscdk.App
	// Deployment is the topology in the environment that is deployed: names, services, and the environment's own settings.
	Deployment topology.Deployment

	Topic      *TopicStack
	Operations *OperationsStack
	// Services are in the topology's order. Service finds one by its name.
	Services []*ServiceStack
	// Network, Database and Gateway are nil where the environment does not make or run one.
	Network  awscdk.Stack
	Database *DatabaseStack
	Gateway  *GatewayStack

	target target
}

// NewStack makes a stack of the team's own, in the account and the region of the others and with their tags. Its name is name after
// the scope of the deployment, such as dev-orders; about says what is in it.
func (s *Stacks) NewStack(name, about string) awscdk.Stack {
	return newStack(s.App, s.target, s.Deployment.Scope()+"-"+name, about, "")
}

// Service is the stack of the service called name. It panics if the topology declares no such service.
func (s *Stacks) Service(name string) *ServiceStack {
	if _, err := s.Deployment.Service(name); err != nil {
		panic(err)
	}
	return s.Services[slices.IndexFunc(s.Services, func(service *ServiceStack) bool { return service.Service.Name == name })]
}

// TopicStack is the stack of the topic.
type TopicStack struct {
	Stack awscdk.Stack
	Topic awssns.Topic
	// Key encrypts what the topic holds; nil unless the environment's encryption is topology.CustomerKey.
	Key awskms.Key
	// ProducerPolicy allows to publish. Attach it to the role of a gateway.
	ProducerPolicy awsiam.ManagedPolicy
	// AlarmTopic is the topic of all alarms, known by its name, for alarms in this stack.
	AlarmTopic awssns.ITopic
}

// OperationsStack is the stack of what whoever is on call needs.
type OperationsStack struct {
	Stack awscdk.Stack
	// AlarmTopic is the topic of all alarms.
	AlarmTopic awssns.Topic
	// Key encrypts alarms; nil unless the environment's encryption is topology.CustomerKey.
	Key awskms.Key
	// RedrivePolicy allows to look at dead letters, to send them back and to delete them, OnCallPolicy to see everything else, and to
	// change nothing.
	RedrivePolicy, OnCallPolicy awsiam.ManagedPolicy
}

// DatabaseStack is the stack of the environment's database.
type DatabaseStack struct {
	Stack awscdk.Stack
	// Key encrypts the database; nil unless the environment's encryption is topology.CustomerKey.
	Key awskms.Key
}

// GatewayStack is the stack of the gateway.
type GatewayStack struct {
	Stack awscdk.Stack
	// Fargate runs the gateway, and MQTT its subscription to a broker; MQTT is nil where there is none.
	Fargate, MQTT awsecs.FargateService
	// Role is that of the gateway's tasks.
	Role awsiam.IRole
	// Balancer is the load balancer that devices call.
	Balancer elb.NetworkLoadBalancer
	// AlarmTopic is the topic of all alarms, known by its name, for alarms in this stack.
	AlarmTopic awssns.ITopic
}

// ServiceStack is the stack of one service.
type ServiceStack struct {
	Stack awscdk.Stack
	// Service is the declaration that the stack is made from.
	Service topology.Service

	// Queue holds the events of the service, DLQ those that its consumer could not handle, DeliveryDLQ those that SNS could not
	// deliver to Queue.
	Queue, DLQ, DeliveryDLQ awssqs.Queue
	// Key encrypts what the queues hold; nil unless the environment's encryption is topology.CustomerKey.
	Key awskms.Key
	// ConsumerPolicy allows to consume Queue and to write to DLQ. A consumer that runs in this stack has it; attach it to the role
	// of one that runs elsewhere.
	ConsumerPolicy awsiam.ManagedPolicy
	// AlarmTopic is the topic of all alarms, known by its name, for alarms in this stack.
	AlarmTopic awssns.ITopic

	// Role is that of the running consumer, to grant it what it needs: that of its tasks or of its function. It is nil if the
	// service has no Compute in the topology.
	Role awsiam.IRole
	// Fargate runs the consumer as tasks; nil unless the service's Compute is topology.Fargate.
	Fargate awsecs.FargateService
	// Balancer is the load balancer that the service's clients call; nil unless its Compute has a Port.
	Balancer elb.ApplicationLoadBalancer
	// Lambda runs the consumer as a function; nil unless the service's Compute is topology.Lambda.
	Lambda awslambda.Function

	environment []string // the variables that the stack itself sets
}

var legalVariable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// AddEnvironment sets an environment variable of the consumer's container or function; a second value for a name replaces the
// first. Templates show the value to all who may read them: secrets come in by Compute.DatabaseSecret, or by the AddSecret of a
// container. It panics if the service has no Compute, and if the stack itself sets the variable.
func (s *ServiceStack) AddEnvironment(name, value string) {
	switch {
	case !legalVariable.MatchString(name):
		panic(fmt.Errorf("service %q: environment variable: got the name %q, want letters, digits or underscores, not beginning with a digit", s.Service.Name, name))
	case slices.Contains(s.environment, name):
		panic(fmt.Errorf("service %q: environment variable %s: the stack sets it already; choose another name", s.Service.Name, name))
	case s.Fargate != nil:
		s.Fargate.TaskDefinition().DefaultContainer().AddEnvironment(&name, &value)
	case s.Lambda != nil:
		s.Lambda.AddEnvironment(&name, &value, nil)
	default:
		panic(fmt.Errorf("service %q: environment variable %s: its consumer does not run here; declare its Compute in the topology", s.Service.Name, name))
	}
}

// applyBoundary bounds every role and user of an app. stack is any of the app's.
func applyBoundary(app awscdk.App, stack awscdk.Stack, boundary string) {
	if boundary == "" {
		return
	}
	if legalBoundary.FindStringSubmatch(boundary)[1] == "" { // a name
		boundary = "arn:" + *awscdk.Aws_PARTITION() + ":iam::" + *awscdk.Aws_ACCOUNT_ID() + ":policy/" + boundary
	}
	policy := awsiam.ManagedPolicy_FromManagedPolicyArn(stack, jsii.String("PermissionsBoundary"), &boundary)
	awsiam.PermissionsBoundary_Of(app).Apply(policy)
}
