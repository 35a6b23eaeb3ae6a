//go:build !race

package stacks

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdklabs/cdk-nag-go/cdknag/v2"

	"github.com/device-fanout/fanout/infra/topology"
)

// ownRoles is everything, with roles of its own for prod and for throw-away environments.
func ownRoles() App {
	top := everything()
	top.Environments[2].OwnRoles, top.Environments[3].OwnRoles = true, true
	return App{Topology: top, SourceRepository: "acme/devices"}
}

// setUp synthesizes the stacks of an account.
func setUp(t *testing.T, nag bool, context ...string) deployed {
	t.Helper()
	s, err := setupOf(ownRoles(), contextOf(context...))
	if err != nil {
		t.Fatal(err)
	}
	app := newApp(t)
	app.Node().SetContext(jsii.String("@aws-cdk/core:annotationsInValidationReport"), false)
	if err := buildSetup(app, s); err != nil {
		t.Fatal(err)
	}
	if nag {
		awscdk.Aspects_Of(app).Add(cdknag.NewAwsSolutionsChecks(&cdknag.NagPackProps{Reports: jsii.Bool(false)}), nil)
	}
	return read(t, app.Synth(nil), target{})
}

var accountContext = []string{"account=111122223333", "region=eu-central-1"}

func TestAccount_IsAsReviewed(t *testing.T) {
	compare(t, "account", setUp(t, false, accountContext...))
}

func TestAccount_NagFindsNothing(t *testing.T) {
	for _, found := range setUp(t, true, accountContext...).errorsOf(t) {
		t.Error(found)
	}
}

func TestAccount_RolesAreOfTheirEnvironment(t *testing.T) {
	d := setUp(t, false, accountContext...)
	const at = ":eu-central-1:111122223333:"
	stack := func(name string) string { return "arn:aws:cloudformation" + at + "stack/" + name + "/0000" }
	role := func(name string) string { return "arn:aws:iam::111122223333:role/" + name }
	boundary := ""
	for _, p := range d.resources("AWS::IAM::ManagedPolicy") {
		boundary = p.id
	}
	for name, c := range map[string]struct {
		trust           string
		allowed, denied []call
	}{
		"device-events-prod-plan": {
			"repo:acme/devices:environment:prod-plan",
			[]call{
				{action: "cloudformation:CreateChangeSet", resource: stack("prod-history")},
				{action: "cloudformation:DescribeChangeSet", resource: stack("prod-history")},
				{action: "cloudformation:DescribeStacks", resource: "*"},
				{action: "ssm:GetParametersByPath", resource: "arn:aws:ssm" + at + "parameter/fanout/prod"},
				{action: "sqs:GetQueueUrl", resource: "arn:aws:sqs" + at + "prod-history.fifo"},
				{action: "s3:PutObject", resource: "arn:aws:s3:::cdk-hnb659fds-assets-111122223333-eu-central-1/x"},
			},
			[]call{
				{action: "cloudformation:ExecuteChangeSet", resource: stack("prod-history")},
				{action: "cloudformation:DeleteStack", resource: stack("prod-history")},
				{action: "cloudformation:CreateChangeSet", resource: stack("test-history")},
				{action: "cloudformation:CreateChangeSet", resource: stack("CDKToolkit")},
				{action: "ecs:RunTask", resource: "arn:aws:ecs" + at + "task-definition/prod-database-fanout:1"},
				{action: "iam:CreateRole", resource: role("prod-history-x")},
				{action: "iam:PassRole", resource: role("cdk-hnb659fds-cfn-exec-role-111122223333-eu-central-1"), passedTo: "cloudformation.amazonaws.com"},
				{action: "sts:AssumeRole", resource: role("cdk-hnb659fds-deploy-role-111122223333-eu-central-1")},
			},
		},
		"device-events-prod-deploy": {
			"repo:acme/devices:environment:prod",
			[]call{
				{action: "cloudformation:ExecuteChangeSet", resource: stack("prod-history")},
				{action: "ecs:RunTask", resource: "arn:aws:ecs" + at + "task-definition/prod-database-fanout:1"},
				{action: "ecs:DescribeTaskDefinition", resource: "*"},
				{action: "iam:PassRole", resource: role("prod-database-MigratefanoutTaskRole-1"), passedTo: "ecs-tasks.amazonaws.com"},
			},
			[]call{
				{action: "cloudformation:CreateChangeSet", resource: stack("prod-history")},
				{action: "cloudformation:ExecuteChangeSet", resource: stack("test-history")},
				{action: "ecs:RunTask", resource: "arn:aws:ecs" + at + "task-definition/prod-history:1"},
				{action: "iam:PassRole", resource: role("prod-history-TaskRole-1"), passedTo: "ecs-tasks.amazonaws.com"},
				{action: "sqs:DeleteQueue", resource: "arn:aws:sqs" + at + "prod-history.fifo"},
			},
		},
		"device-events-prod-execution": {
			"",
			[]call{
				{action: "sqs:CreateQueue", resource: "arn:aws:sqs" + at + "prod-history.fifo"},
				{action: "iam:CreateRole", resource: role("prod-history-TaskRole-1"), boundary: boundary},
				{action: "iam:UpdateAssumeRolePolicy", resource: role("prod-history-TaskRole-1")},
				{action: "rds:CreateDBInstance", resource: "arn:aws:rds" + at + "pg:default.postgres17"},
				{action: "rds:CreateDBInstance", resource: "arn:aws:rds" + at + "og:default:postgres-17"},
				{action: "lambda:TagResource", resource: "arn:aws:lambda" + at + "event-source-mapping:1"},
				{action: "ssm:PutParameter", resource: "arn:aws:ssm" + at + "parameter/fanout/prod/topic-arn"},
				{action: "iam:PassRole", resource: role("prod-history-TaskRole-1"), passedTo: "ecs-tasks.amazonaws.com"},
			},
			[]call{
				{action: "sqs:CreateQueue", resource: "arn:aws:sqs" + at + "test-history.fifo"},
				{action: "iam:CreateRole", resource: role("prod-history-TaskRole-1"), boundary: "another"},
				{action: "iam:PutRolePolicy", resource: role("prod-history-TaskRole-1"), boundary: "none"},
				{action: "iam:CreateRole", resource: role("admin"), boundary: boundary},
				{action: "iam:UpdateAssumeRolePolicy", resource: role("prod-admin"), others: true},
				{action: "ssm:PutParameter", resource: "arn:aws:ssm" + at + "parameter/fanout/production/topic-arn"},
				{action: "cloudformation:DeleteStack", resource: stack("prod-history")},
				{action: "iam:DeleteRolePermissionsBoundary", resource: role("prod-history-TaskRole-1")},
				{action: "iam:PassRole", resource: role("prod-history-TaskRole-1"), passedTo: "ec2.amazonaws.com"},
				{action: "iam:CreateUser", resource: "arn:aws:iam::111122223333:user/prod-x"},
				{action: "iam:CreatePolicyVersion", resource: "arn:aws:iam::111122223333:policy/device-events-boundary"},
			},
		},
		"device-events-images-push": {
			"repo:acme/devices:environment:images",
			[]call{
				{action: "ecr:GetAuthorizationToken", resource: "*"},
				{action: "ecr:PutImage", resource: "arn:aws:ecr" + at + "repository/fanout"},
				{action: "ecr:DescribeImages", resource: "arn:aws:ecr" + at + "repository/fanout"},
			},
			[]call{
				{action: "ecr:PutImage", resource: "arn:aws:ecr" + at + "repository/another"},
				{action: "ecr:BatchDeleteImage", resource: "arn:aws:ecr" + at + "repository/fanout"},
				{action: "cloudformation:CreateChangeSet", resource: stack("test-history")},
			},
		},
		"device-events-feature-deploy": {
			"repo:acme/devices:environment:feature",
			[]call{
				{action: "cloudformation:ExecuteChangeSet", resource: stack("feature-x-history")},
				{action: "cloudformation:DeleteStack", resource: stack("feature-x-history")},
				{action: "ecs:RunTask", resource: "arn:aws:ecs:eu-central-1:111122223333:task-definition/feature-x-database-fanout:1"},
			},
			[]call{{action: "cloudformation:DeleteStack", resource: stack("prod-history")}, {action: "cloudformation:ExecuteChangeSet", resource: stack("prod-history")}},
		},
	} {
		role := d.named(t, "AWS::IAM::Role", "RoleName", name)
		policy := d.policiesOf(t, role)
		trust, _ := json.Marshal(role.at("AssumeRolePolicyDocument"))
		if c.trust != "" && !strings.Contains(string(trust), `"token.actions.githubusercontent.com:sub":"`+c.trust+`"`) {
			t.Errorf("%s: got the trust %s, want %s", name, trust, c.trust)
		}
		wantCalls(t, name, policy, c.allowed, c.denied)
	}
	for _, r := range d.resources("AWS::ECR::Repository") {
		if r.text("ImageTagMutability") != "IMMUTABLE" || r.text("ImageScanningConfiguration", "ScanOnPush") != "true" || !strings.Contains(r.text("LifecyclePolicy"), "imageCountMoreThan") {
			t.Errorf("%s: got %v", r.text("RepositoryName"), r.properties)
		}
	}
	if roles := d.resources("AWS::IAM::Role"); len(roles) != 7 {
		t.Errorf("got %d roles, want three of prod, three of throw-away environments and one that pushes images", len(roles))
	}
}

// TestAccount_TheBoundaryHoldsRights: what a program of the environment gets by its policies, the boundary lets through, and no right over IAM.
func TestAccount_TheBoundaryHoldsRights(t *testing.T) {
	boundary := setUp(t, false, accountContext...).resources("AWS::IAM::ManagedPolicy")[0]
	if boundary.text("ManagedPolicyName") != "device-events-boundary" {
		t.Errorf("got %s", boundary.text("ManagedPolicyName"))
	}
	for _, action := range []string{"iam:CreateUser", "sts:AssumeRole", "cloudformation:ExecuteChangeSet", "kms:ScheduleKeyDeletion", "sns:DeleteTopic", "ec2:RunInstances"} {
		if allows(t, boundary, call{action: action, resource: "x"}) {
			t.Errorf("the boundary lets %s through", action)
		}
	}
	d := synthesizeApp(t, ownRoles(), "env=prod", imageTag)
	roles := 0
	for _, kind := range []string{"AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"} {
		for _, p := range d.resources(kind) {
			if name := p.text("ManagedPolicyName"); strings.Contains(name, "on-call") || strings.Contains(name, "redrive") {
				continue // people's
			}
			for _, statement := range p.list("PolicyDocument", "Statement") {
				for _, action := range (resource{properties: statement.(map[string]any)}).list("Action") {
					if !allows(t, boundary, call{action: strings.TrimSuffix(action.(string), "*"), resource: "x"}) {
						t.Errorf("%s: the boundary holds %s back", p.id, action)
					}
				}
			}
		}
	}
	for _, r := range d.resources("AWS::IAM::Role") {
		if roles++; !strings.HasSuffix(r.text("PermissionsBoundary"), ":policy/device-events-boundary") {
			t.Errorf("%s: got the boundary %s", r.id, r.text("PermissionsBoundary"))
		}
	}
	if roles < 8 {
		t.Errorf("got %d roles", roles)
	}
}

// TestAccount_OwnRolesDeploy: the CDK takes no role of its bootstrap, and CloudFormation that of the environment.
func TestAccount_OwnRolesDeploy(t *testing.T) {
	d := synthesizeApp(t, ownRoles(), "env=prod", imageTag)
	text, err := os.ReadFile(filepath.Join(*d.assembly.Directory(), "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct {
		Artifacts map[string]struct {
			Type       string
			Properties struct{ AssumeRoleArn, CloudFormationExecutionRoleArn string }
		}
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	stacks := 0
	for name, a := range manifest.Artifacts {
		if a.Type == "aws:cloudformation:stack" {
			if stacks++; a.Properties.AssumeRoleArn != "" || !strings.HasSuffix(a.Properties.CloudFormationExecutionRoleArn, ":role/device-events-prod-execution") {
				t.Errorf("%s: got %+v", name, a.Properties)
			}
		}
	}
	if stacks != 8 {
		t.Errorf("got %d stacks", stacks)
	}
}

func TestAccount_SaysWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		app     App
		context []string
		want    string
	}{
		"account":  {ownRoles(), []string{"region=eu-central-1"}, `context account: got "", want the 12 digits`},
		"region":   {ownRoles(), []string{"account=111122223333"}, "context region: missing"},
		"provider": {ownRoles(), append([]string{"oidc_provider=yes"}, accountContext...), `context oidc_provider: got "yes", want existing`},
		"source":   {App{Topology: ownRoles().Topology}, accountContext, `source repository: got "", want the repository on GitHub`},
		"topology": {App{Topology: topology.Topology{}, SourceRepository: "a/b"}, accountContext, "environments: there is none"},
	} {
		if _, err := setupOf(c.app, contextOf(c.context...)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want it to say %q", name, err, c.want)
		}
	}
	if d := setUp(t, false, append([]string{"oidc_provider=existing"}, accountContext...)...); len(d.resources("AWS::IAM::OIDCProvider")) != 0 {
		t.Error("a second OIDC provider is made")
	}
}
