package stacks

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsssm"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/device-fanout/fanout/infra/topology"
)

// network is where tasks and databases are, as one stack knows it.
type network struct {
	vpc             awsec2.IVpc
	private, public *awsec2.SubnetSelection
}

// networkIn is the environment's network as a stack knows it: an existing one by the IDs in its declaration, one that is made by what its
// stack has published. Every stack asks once, with or without the public subnets.
func (t target) networkIn(stack awscdk.Stack, public bool) network {
	n := t.Environment.Network
	props := awsec2.VpcAttributes{
		VpcId: &n.VPC, AvailabilityZones: jsii.Strings(n.AvailabilityZones...), PrivateSubnetIds: jsii.Strings(n.Subnets...),
	}
	if public && !n.Made() {
		props.PublicSubnetIds = jsii.Strings(n.PublicSubnets...)
	}
	if n.Made() {
		props.VpcId = t.published(stack, "network/vpc-id")
		props.AvailabilityZones = zones(n.Zones)
		props.PrivateSubnetIds = each(t.published(stack, "network/private-subnet-ids"), n.Zones)
		if public {
			props.PublicSubnetIds = each(t.published(stack, "network/public-subnet-ids"), n.Zones)
		}
	}
	// Nothing here asks for the routes of a subnet.
	awscdk.Annotations_Of(stack).AcknowledgeWarning(jsii.String("@aws-cdk/aws-ec2:noSubnetRouteTableId"), nil)
	return network{
		vpc:     awsec2.Vpc_FromVpcAttributes(stack, jsii.String("Vpc"), &props),
		private: &awsec2.SubnetSelection{SubnetType: awsec2.SubnetType_PRIVATE_WITH_EGRESS},
		public:  &awsec2.SubnetSelection{SubnetType: awsec2.SubnetType_PUBLIC},
	}
}

// balancer is where a load balancer listens.
func (n network) balancer(internal bool) *awsec2.SubnetSelection {
	if internal {
		return n.private
	}
	return n.public
}

// published reads what another stack of the environment has published, when the stack is deployed.
func (t target) published(stack awscdk.Stack, path string) *string {
	return awsssm.StringParameter_ValueForStringParameter(stack, jsii.String(t.parameter(path)), nil)
}

// parameter is the name of the SSM parameter of a value that a stack publishes.
func (t target) parameter(path string) string { return "/" + appName + "/" + t.Scope() + "/" + path }

// zones are the first availability zones of the region; which they are is known when the stack is deployed.
func zones(n int) *[]*string { return eachOf(awscdk.Fn_GetAzs(nil), n) }

// each takes a text of n values with commas between them apart.
func each(text *string, n int) *[]*string {
	return eachOf(awscdk.Fn_Split(jsii.String(","), text, nil), n)
}

func eachOf(list *[]*string, n int) *[]*string {
	var all []*string
	for i := range n {
		all = append(all, awscdk.Fn_Select(jsii.Number(i), list))
	}
	return &all
}

// anyOf is a list as the CDK's resource by resource constructs take it.
func anyOf(texts ...*string) *[]any {
	var list []any
	for _, text := range texts {
		list = append(list, text)
	}
	return &list
}

// newNetworkStack makes a VPC with a private and a public subnet in every zone. It is written resource by resource, since the CDK's own
// construct asks an account for its zones, and a synthesis needs none.
func newNetworkStack(app constructs.Construct, t target) awscdk.Stack {
	n := t.Environment.Network
	stack := newStack(app, t, t.NetworkStack(), "Fanout: the network of "+t.Environment.Name, "")
	named := func(name string) *[]*awscdk.CfnTag {
		return &[]*awscdk.CfnTag{{Key: jsii.String("Name"), Value: jsii.String(t.Scope() + name)}}
	}
	vpc := awsec2.NewCfnVPC(stack, jsii.String("Vpc"), &awsec2.CfnVPCProps{
		CidrBlock: &n.CIDR, EnableDnsHostnames: jsii.Bool(true), EnableDnsSupport: jsii.Bool(true), Tags: named(""),
	})
	suppress(vpc, "AwsSolutions-VPC7", "a flow log costs more than the rest of the network; who needs one adds it by Extend")
	internet := awsec2.NewCfnInternetGateway(stack, jsii.String("Internet"), &awsec2.CfnInternetGatewayProps{Tags: named("")})
	attached := awsec2.NewCfnVPCGatewayAttachment(stack, jsii.String("Attached"), &awsec2.CfnVPCGatewayAttachmentProps{
		VpcId: vpc.Ref(), InternetGatewayId: internet.Ref(),
	})
	table := func(id, name string) awsec2.CfnRouteTable {
		return awsec2.NewCfnRouteTable(stack, jsii.String(id+"Routes"), &awsec2.CfnRouteTableProps{VpcId: vpc.Ref(), Tags: named(name)})
	}
	publicRoutes, privateRoutes := table("Public", "-public"), table("Private", "-private")
	out := awsec2.NewCfnRoute(stack, jsii.String("PublicRoute"), &awsec2.CfnRouteProps{
		RouteTableId: publicRoutes.Ref(), DestinationCidrBlock: jsii.String("0.0.0.0/0"), GatewayId: internet.Ref(),
	})
	out.AddResourceDependency(attached, nil)
	blocks := split(n.CIDR, n.Zones)
	subnets := func(id, name string, routes awsec2.CfnRouteTable, first int) (ids []*string) {
		for i, zone := range *zones(n.Zones) {
			number := fmt.Sprint(i + 1)
			subnet := awsec2.NewCfnSubnet(stack, jsii.String(id+number), &awsec2.CfnSubnetProps{
				VpcId: vpc.Ref(), AvailabilityZone: zone, CidrBlock: &blocks[first+i], MapPublicIpOnLaunch: jsii.Bool(false), Tags: named(name + number),
			})
			awsec2.NewCfnSubnetRouteTableAssociation(stack, jsii.String(id+number+"Routes"), &awsec2.CfnSubnetRouteTableAssociationProps{
				SubnetId: subnet.Ref(), RouteTableId: routes.Ref(),
			})
			ids = append(ids, subnet.Ref())
		}
		return ids
	}
	public := subnets("Public", "-public-", publicRoutes, 0)
	private := subnets("Private", "-private-", privateRoutes, n.Zones)
	switch n.WayOut {
	case topology.ByNAT:
		address := awsec2.NewCfnEIP(stack, jsii.String("Address"), &awsec2.CfnEIPProps{Domain: jsii.String("vpc"), Tags: named("-nat")})
		address.AddResourceDependency(attached, nil)
		nat := awsec2.NewCfnNatGateway(stack, jsii.String("NAT"), &awsec2.CfnNatGatewayProps{
			SubnetId: public[0], AllocationId: address.AttrAllocationId(), Tags: named("-nat"),
		})
		nat.AddResourceDependency(out, nil)
		awsec2.NewCfnRoute(stack, jsii.String("PrivateRoute"), &awsec2.CfnRouteProps{
			RouteTableId: privateRoutes.Ref(), DestinationCidrBlock: jsii.String("0.0.0.0/0"), NatGatewayId: nat.Ref(),
		})
	case topology.ByEndpoints:
		newEndpoints(stack, t, vpc, private, privateRoutes)
	}
	join := func(ids []*string) *string { return awscdk.Fn_Join(jsii.String(","), &ids) }
	publish(stack, t, "VpcId", "network/vpc-id", vpc.Ref(), "the VPC of "+t.Environment.Name)
	publish(stack, t, "PrivateSubnetIds", "network/private-subnet-ids", join(private), "the subnets of tasks and databases")
	publish(stack, t, "PublicSubnetIds", "network/public-subnet-ids", join(public), "the subnets of load balancers that the internet reaches")
	return stack
}

// newEndpoints makes a way to every service of AWS that a task calls, which is the only way out of the network.
func newEndpoints(stack awscdk.Stack, t target, vpc awsec2.CfnVPC, subnets []*string, routes awsec2.CfnRouteTable) {
	group := awsec2.NewCfnSecurityGroup(stack, jsii.String("EndpointsGroup"), &awsec2.CfnSecurityGroupProps{
		VpcId: vpc.Ref(), GroupDescription: jsii.String("endpoints take requests from inside the network"),
		SecurityGroupIngress: &[]*awsec2.CfnSecurityGroup_IngressProperty{{
			IpProtocol: jsii.String("tcp"), FromPort: jsii.Number(443), ToPort: jsii.Number(443), CidrIp: &t.Environment.Network.CIDR,
			Description: jsii.String("HTTPS from the network"),
		}},
	})
	services := []string{"sns", "sqs", "logs", "secretsmanager", "ecr.api", "ecr.dkr"}
	if t.Environment.Encryption == topology.CustomerKey {
		services = append(services, "kms")
	}
	name := func(service string) *string { return jsii.String("com.amazonaws." + *stack.Region() + "." + service) }
	for _, service := range services {
		awsec2.NewCfnVPCEndpoint(stack, jsii.String("Endpoint-"+strings.ReplaceAll(service, ".", "-")), &awsec2.CfnVPCEndpointProps{
			VpcId: vpc.Ref(), ServiceName: name(service), VpcEndpointType: jsii.String("Interface"), PrivateDnsEnabled: jsii.Bool(true),
			SubnetIds: anyOf(subnets...), SecurityGroupIds: anyOf(group.AttrGroupId()),
		})
	}
	// The layers of images are in S3.
	awsec2.NewCfnVPCEndpoint(stack, jsii.String("Endpoint-s3"), &awsec2.CfnVPCEndpointProps{
		VpcId: vpc.Ref(), ServiceName: name("s3"), VpcEndpointType: jsii.String("Gateway"), RouteTableIds: anyOf(routes.Ref()),
	})
}

// split cuts a block of addresses into a public and a private one for each zone, the public ones first. The topology has checked the block.
func split(cidr string, zones int) (blocks []string) {
	whole, more := netip.MustParsePrefix(cidr), 2
	if zones > 2 {
		more = 3
	}
	size := uint32(1) << (32 - whole.Bits() - more)
	first := whole.Addr().As4()
	start := uint32(first[0])<<24 | uint32(first[1])<<16 | uint32(first[2])<<8 | uint32(first[3])
	for i := range uint32(2 * zones) {
		a := start + i*size
		block := netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)}), whole.Bits()+more)
		blocks = append(blocks, block.String())
	}
	return blocks
}
