package stacks

import (
	"fmt"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecs"
	elb "github.com/aws/aws-cdk-go/awscdk/v2/awselasticloadbalancingv2"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/device-fanout/fanout/infra/topology"
)

// httpsPort is where every load balancer listens, with TLS.
const httpsPort = 443

// everyone is an address where others than this host can call.
func everyone(port int) string { return fmt.Sprintf("0.0.0.0:%d", port) }

func seconds(n float64) awscdk.Duration { return awscdk.Duration_Seconds(&n) }

// newDoor makes the security group of a load balancer, which takes TLS connections from the internet or, where it is internal, from private
// addresses, and lets it call tasks of a group at a port.
func (t target) newDoor(scope constructs.Construct, n network, internal bool, tasks awsec2.SecurityGroup, port int) awsec2.SecurityGroup {
	door := awsec2.NewSecurityGroup(scope, jsii.String("Door"), &awsec2.SecurityGroupProps{
		Vpc: n.vpc, Description: jsii.String("who may call the load balancer, and whom it calls"), AllowAllOutbound: jsii.Bool(false),
	})
	from := []awsec2.IPeer{awsec2.Peer_AnyIpv4()}
	if internal {
		from = nil
		private := []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"}
		if t.Environment.Network.Made() {
			private = []string{t.Environment.Network.CIDR}
		}
		for _, private := range private {
			from = append(from, awsec2.Peer_Ipv4(&private))
		}
	}
	for _, peer := range from {
		door.AddIngressRule(peer, awsec2.Port_Tcp(jsii.Number(httpsPort)), jsii.String("TLS"), nil)
	}
	door.AddEgressRule(tasks, awsec2.Port_Tcp(jsii.Number(port)), jsii.String("the tasks"), nil)
	tasks.AddIngressRule(door, awsec2.Port_Tcp(jsii.Number(port)), jsii.String("the load balancer"), nil)
	suppress(door, "AwsSolutions-EC23", "it is open to the internet on purpose, with TLS; who calls must show a key or a token")
	return door
}

// newBalancer puts an Application Load Balancer with TLS before the tasks of a service that listens. WebSockets go through it.
func (made *ServiceStack) newBalancer(t target, n network, service awsecs.FargateService, tasks awsec2.SecurityGroup) {
	stack, c := made.Stack, made.Service.Compute
	door := t.newDoor(stack, n, c.Internal, tasks, c.Port)
	balancer := elb.NewApplicationLoadBalancer(stack, jsii.String("Balancer"), &elb.ApplicationLoadBalancerProps{
		Vpc: n.vpc, VpcSubnets: n.balancer(c.Internal), InternetFacing: jsii.Bool(!c.Internal), SecurityGroup: door,
		DropInvalidHeaderFields: jsii.Bool(true),
		IdleTimeout:             seconds(300), // of a WebSocket too, which push keeps alive by pings
	})
	targets := elb.NewApplicationTargetGroup(stack, jsii.String("Tasks"), &elb.ApplicationTargetGroupProps{
		Vpc: n.vpc, Port: jsii.Number(c.Port), Protocol: elb.ApplicationProtocol_HTTP, TargetType: elb.TargetType_IP,
		HealthCheck:         &elb.HealthCheck{Path: jsii.String("/healthz"), Interval: seconds(6), Timeout: seconds(5), HealthyThresholdCount: jsii.Number(2), UnhealthyThresholdCount: jsii.Number(2)},
		DeregistrationDelay: seconds((topology.ShutdownDelay + c.Drain + stopMargin).Seconds()),
	})
	targets.AddTarget(service)
	balancer.AddListener(jsii.String("TLS"), &elb.BaseApplicationListenerProps{
		Port: jsii.Number(httpsPort), Protocol: elb.ApplicationProtocol_HTTPS, Open: jsii.Bool(false), SslPolicy: elb.SslPolicy_RECOMMENDED_TLS,
		Certificates:        &[]elb.IListenerCertificate{elb.ListenerCertificate_FromArn(&t.Environment.Certificate)},
		DefaultTargetGroups: &[]elb.IApplicationTargetGroup{targets},
	})
	made.Balancer = balancer
	acceptBalancer(balancer)
	publish(stack, t, "Address", made.Service.Name+"/balancer", balancer.LoadBalancerDnsName(), "where clients of "+made.Service.Name+" call; point the name of the certificate there")
}

func acceptBalancer(r awscdk.IResource) {
	suppress(r, "AwsSolutions-ELB2", "the program logs what it refuses; an access log wants a bucket, which a team adds by Extend")
}
