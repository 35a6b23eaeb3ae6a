package stacks

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecr"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/jsii-runtime-go"

	"github.com/device-fanout/fanout/infra/topology"
)

// What an account has before the first environment: repositories of images, and roles of their own for whoever deploys. It is deployed by an
// administrator, by hand, with -c account_setup=true.

// bootstrapQualifier is that of the CDK's bootstrap, whose bucket takes the templates.
const bootstrapQualifier = "hnb659fds"

// legalSourceRepository is a repository of GitHub.
var legalSourceRepository = regexp.MustCompile(`^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$`)

const githubIssuer = "token.actions.githubusercontent.com"

// setup is an account that is set up.
type setup struct {
	app             App
	account, region string
	providerExists  bool // another application has made the account's OIDC provider
}

// setupOf reads the command line's context: account, region and oidc_provider.
func setupOf(a App, context func(key string) any) (setup, error) {
	text := func(key string) string { value, _ := context(key).(string); return value }
	s := setup{app: a, account: text("account"), region: text("region")}
	faults := a.faults()
	if err := a.Topology.Validate(); err != nil {
		faults = append(faults, fmt.Errorf("stacks: %w", err))
	}
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("stacks: "+format, args...)) }
	if !account.MatchString(s.account) {
		fault("context account: got %q, want the 12 digits of the account that is set up", s.account)
	}
	if s.region == "" {
		fault("context region: missing; say in which region the repositories of images are, such as -c region=eu-central-1")
	}
	switch text("oidc_provider") {
	case "":
	case "existing":
		s.providerExists = true
	default:
		fault("context oidc_provider: got %q, want existing, or nothing to make the account's provider of %s", text("oidc_provider"), githubIssuer)
	}
	return s, errors.Join(faults...)
}

// buildSetup declares the stacks of an account.
func buildSetup(app awscdk.App, s setup) (err error) {
	defer recovered(&err)
	top := s.app.Topology
	stack := func(name, about string) awscdk.Stack {
		made := awscdk.NewStack(app, &name, &awscdk.StackProps{
			StackName: &name, Description: &about, TerminationProtection: jsii.Bool(true),
			Env: &awscdk.Environment{Account: &s.account, Region: &s.region},
		})
		addTags(made, map[string]string{appTag: cmp.Or(s.app.Tags[appTag], appName)})
		return made
	}
	repositories := newImages(stack(top.ImagesStack(), "Fanout: repositories of images"), s)
	if slices.ContainsFunc(top.Environments, s.owns) {
		newAccount(stack(top.AccountStack(), "Fanout: who may deploy in this account"), s, repositories)
	}
	addTags(app, s.app.Tags)
	return nil
}

// owns tells whether an environment is deployed into the account by roles of its own.
func (s setup) owns(e topology.Environment) bool {
	return e.OwnRoles && (e.Account == "" || e.Account == s.account)
}

// newImages makes a repository for every image that the topology runs anywhere, and returns their names. A tag never changes its image.
func newImages(stack awscdk.Stack, s setup) []string {
	repositories := map[string]bool{gatewayRepository: true}
	for _, service := range s.app.Topology.Services {
		if c := service.Compute; c.Kind != "" {
			repositories[cmp.Or(c.Repository, gatewayRepository)] = true
		}
	}
	names := sortedKeys(repositories)
	for _, name := range names {
		made := awsecr.NewRepository(stack, jsii.String("Repository-"+inName(name)), &awsecr.RepositoryProps{
			RepositoryName: &name, ImageScanOnPush: jsii.Bool(true), ImageTagMutability: awsecr.TagMutability_IMMUTABLE,
			RemovalPolicy: awscdk.RemovalPolicy_RETAIN_ON_UPDATE_OR_DELETE,
			LifecycleRules: &[]*awsecr.LifecycleRule{
				{RulePriority: jsii.Number(1), TagStatus: awsecr.TagStatus_UNTAGGED, MaxImageAge: awscdk.Duration_Days(jsii.Number(30)), Description: jsii.String("what no tag names")},
				// So many that the image of an environment that was not deployed for long is still there.
				{RulePriority: jsii.Number(2), TagStatus: awsecr.TagStatus_ANY, MaxImageCount: jsii.Number(500), Description: jsii.String("the oldest")},
			},
		})
		// A function of this account may run it; tasks may by their execution role.
		made.AddToResourcePolicy(awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
			Sid: jsii.String("Functions"), Principals: &[]awsiam.IPrincipal{awsiam.NewServicePrincipal(jsii.String("lambda.amazonaws.com"), nil)},
			Actions:    jsii.Strings("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"),
			Conditions: &map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": s.account}},
		}))
	}
	return names
}

// newAccount makes the roles of every environment that has its own, the boundary of what its programs may do, and the role that pushes images.
func newAccount(stack awscdk.Stack, s setup, repositories []string) {
	provider := "arn:" + *stack.Partition() + ":iam::" + s.account + ":oidc-provider/" + githubIssuer
	if !s.providerExists {
		provider = *awsiam.NewCfnOIDCProvider(stack, jsii.String("GitHub"), &awsiam.CfnOIDCProviderProps{
			Url: jsii.String("https://" + githubIssuer), ClientIdList: jsii.Strings("sts.amazonaws.com"),
		}).AttrArn()
	}
	boundary := newBoundary(stack, s)
	for _, e := range s.app.Topology.Environments {
		if s.owns(e) {
			newEnvironmentRoles(stack, s, e, provider, boundary)
		}
	}
	newImagesRole(stack, s, provider, repositories)
}

// newImagesRole makes the role of whoever runs in the source repository's environment images: it pushes images in
// every region, and deletes none.
func newImagesRole(stack awscdk.Stack, s setup, provider string, repositories []string) {
	role := awsiam.NewRole(stack, jsii.String("PushImages"), &awsiam.RoleProps{
		RoleName: jsii.String(s.app.Topology.ImagesRoleName()), AssumedBy: s.trust(provider, "images"), Description: jsii.String("push images"),
	})
	arns := make([]*string, len(repositories))
	for i, name := range repositories {
		arns[i] = jsii.String("arn:" + *awscdk.Aws_PARTITION() + ":ecr:*:" + s.account + ":repository/" + name)
	}
	role.AddToPolicy(allow("SignIn", []string{"ecr:GetAuthorizationToken"}, jsii.String("*")))
	role.AddToPolicy(allow("Push", []string{
		"ecr:DescribeImages", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability",
		"ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage",
	}, arns...))
	suppress(role, "AwsSolutions-IAM5", "ecr:GetAuthorizationToken knows no resource")
}

// newBoundary is what a role that an environment makes may do at most, whatever its policies say: what consumers, gateways and CloudFormation's
// own helpers need, and nothing by which it could get more rights.
func newBoundary(stack awscdk.Stack, s setup) awsiam.ManagedPolicy {
	boundary := awsiam.NewManagedPolicy(stack, jsii.String("Boundary"), &awsiam.ManagedPolicyProps{
		ManagedPolicyName: jsii.String(s.app.Topology.BoundaryName()), Description: jsii.String("what programs of the fan-out may do at most"),
		Statements: &[]awsiam.PolicyStatement{
			allow("Programs", []string{
				"sns:Publish", "sqs:*", "kms:Decrypt", "kms:GenerateDataKey*", "kms:DescribeKey", "secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret",
				"logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:PutMetricFilter", "logs:PutRetentionPolicy",
				"ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer",
				"elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite", "ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces",
				"ec2:DeleteNetworkInterface", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses", "ec2:DescribeSubnets", "xray:PutTraceSegments", "xray:PutTelemetryRecords",
			}, jsii.String("*")),
		},
	})
	suppress(boundary, "AwsSolutions-IAM5", "a boundary grants nothing; policies say which resources")
	return boundary
}
