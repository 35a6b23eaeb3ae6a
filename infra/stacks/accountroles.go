package stacks

import (
	"cmp"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/device-fanout/fanout/infra/topology"
)

// Roles of an environment with own_roles. Who plans makes change sets and can't execute them; who deploys executes them; CloudFormation makes the
// resources as execution, and is limited to those of the environment.
const (
	planRole      = "plan"
	deployRole    = "deploy"
	executionRole = "execution"
)

// newEnvironmentRoles makes the three roles of an environment.
func newEnvironmentRoles(stack awscdk.Stack, s setup, e topology.Environment, provider string, boundary awsiam.ManagedPolicy) {
	top := s.app.Topology
	r := environmentRoles{
		setup: s, scope: constructs.NewConstruct(stack, jsii.String("Of-"+strings.ReplaceAll(e.Name, "*", "any"))), environment: e,
		prefix: strings.TrimSuffix(topology.Deployment{Topology: top.Name, Prefix: top.Prefix, Environment: e}.Scope(), "*"),
	}
	if r.prefix[len(r.prefix)-1] != '-' {
		r.prefix += "-"
	}
	execution := r.newExecution(boundary)
	r.newPlan(provider, execution)
	r.newDeploy(provider)
}

// environmentRoles makes the roles of one environment.
type environmentRoles struct {
	setup
	scope       constructs.Construct
	environment topology.Environment
	prefix      string // that the names of the environment's resources begin with
}

// arn is that of what belongs to the account, in the environment's region or, where it says none, in any.
func (r environmentRoles) arn(service, resource string) *string {
	region, account := cmp.Or(r.environment.Region, "*"), r.account
	switch service {
	case "iam":
		region = ""
	case "s3":
		region, account = "", ""
	}
	return jsii.String("arn:" + *awscdk.Aws_PARTITION() + ":" + service + ":" + region + ":" + account + ":" + resource)
}

// stacks are those of the environment.
func (r environmentRoles) stacks() *string { return r.arn("cloudformation", "stack/"+r.prefix+"*/*") }

// named is the pattern of what is called so in the environment, or in any of those that share the roles.
func (r environmentRoles) named(name string) string {
	if r.environment.ThrowAway() {
		return r.prefix + "*-" + name
	}
	return r.prefix + name
}

// paths are the path of what the environment's stacks publish, and of what its programs log, and all that is below it.
func (r environmentRoles) paths(service, kind string) []*string {
	path := kind + appName + "/" + strings.TrimSuffix(r.prefix, "-")
	if r.environment.ThrowAway() {
		return []*string{r.arn(service, path+"-*")}
	}
	return []*string{r.arn(service, path), r.arn(service, path+"/*")}
}

// secrets are those that CloudFormation itself reads: of databases that are no environment's, for functions.
func (r environmentRoles) secrets() (arns []*string) {
	for _, s := range r.app.Topology.Services {
		secret := strings.ReplaceAll(s.Compute.DatabaseSecret, "{env}", r.environment.Name)
		switch {
		case secret == "" || s.Compute.Kind != topology.Lambda:
		case strings.HasPrefix(secret, "arn:"):
			arns = append(arns, &secret)
		default:
			arns = append(arns, r.arn("secretsmanager", "secret:"+secret+"-??????"))
		}
	}
	return arns
}

// role makes a role with these rights.
func (r environmentRoles) role(id, name, about string, by awsiam.IPrincipal, statements ...awsiam.PolicyStatement) awsiam.Role {
	role := awsiam.NewRole(r.scope, &id, &awsiam.RoleProps{
		RoleName: jsii.String(r.app.Topology.RoleName(r.environment, name)), AssumedBy: by, Description: jsii.String(about + " " + r.environment.Name),
	})
	for _, statement := range statements {
		role.AddToPolicy(statement)
	}
	suppress(role, "AwsSolutions-IAM5", "names of the environment's resources begin alike; what has no name of its own is bounded by the roles that use it")
	return role
}

// only allows what allow does under a condition on one key.
func only(key string, values any, id string, actions []string, resources ...*string) awsiam.PolicyStatement {
	s := allow(id, actions, resources...)
	s.AddConditions(&map[string]any{"StringEquals": map[string]any{key: values}})
	return s
}

// newExecution makes the role by which CloudFormation makes the environment's resources.
func (r environmentRoles) newExecution(boundary awsiam.ManagedPolicy) awsiam.Role {
	every := r.prefix + "*"
	tagged := allow("Trusts", []string{"iam:UpdateAssumeRolePolicy", "iam:DeleteRole", "iam:UpdateRole", "iam:UpdateRoleDescription"}, r.arn("iam", "role/"+every))
	tagged.AddConditions(&map[string]any{"StringLike": map[string]any{"iam:ResourceTag/" + environmentTag: r.environment.Name}}) // the stacks' own, and nobody else's
	made := r.role(
		"Execution", executionRole, "make the resources of", awsiam.NewServicePrincipal(jsii.String("cloudformation.amazonaws.com"), nil),
		tagged,
		allow("Named", []string{"sns:*"}, r.arn("sns", every)),
		allow("Queues", []string{"sqs:*"}, r.arn("sqs", every)),
		allow("Parameters", []string{"ssm:*"}, r.paths("ssm", "parameter/")...),
		allow("Logs", []string{"logs:*"}, append(r.paths("logs", "log-group:/"), r.arn("logs", "log-group:/"+appName+"/"+every))...),
		allow("Watch", []string{"cloudwatch:*"}, r.arn("cloudwatch", "alarm:"+every), jsii.String("arn:"+*awscdk.Aws_PARTITION()+":cloudwatch::"+r.account+":dashboard/"+every)),
		allow("Functions", []string{"lambda:*"}, r.arn("lambda", "function:"+every)),
		allow("MappingTags", []string{"lambda:TagResource", "lambda:UntagResource", "lambda:ListTags"}, r.arn("lambda", "event-source-mapping:*")),
		allow("Tasks", []string{"ecs:*"}, r.arn("ecs", "cluster/"+every), r.arn("ecs", "service/"+every), r.arn("ecs", "task-definition/"+every), r.arn("ecs", "service-deployment/"+every), r.arn("ecs", "service-revision/"+every)),
		allow("Databases", []string{"rds:*"}, r.arn("rds", "db:"+every), r.arn("rds", "cluster:"+every), r.arn("rds", "subgrp:"+every), r.arn("rds", "snapshot:*"), r.arn("rds", "cluster-snapshot:*"),
			r.arn("rds", "og:*"), r.arn("rds", "pg:*"), r.arn("rds", "cluster-pg:*")), // the groups of options and parameters that RDS gives
		allow("DatabaseSecrets", []string{"secretsmanager:CreateSecret", "secretsmanager:TagResource", "secretsmanager:RotateSecret"}, r.arn("secretsmanager", "secret:rds!*")),
		// These have no names to tell them by; what they can do is bounded by the roles that use them.
		allow("Unnamed", []string{
			"ec2:*", "elasticloadbalancing:*", "elasticfilesystem:*", "application-autoscaling:*", "kms:*", "ecs:RegisterTaskDefinition", "ecs:DeregisterTaskDefinition",
			"ecs:DescribeTaskDefinition", "ecs:CreateCluster", "logs:DescribeLogGroups", "lambda:CreateEventSourceMapping", "lambda:UpdateEventSourceMapping",
			"lambda:DeleteEventSourceMapping", "lambda:GetEventSourceMapping", "rds:Describe*", "cloudwatch:DescribeAlarms", "ecr:GetRepositoryPolicy", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "sns:ListTopics",
			"sns:Unsubscribe", "sns:GetSubscriptionAttributes", "sns:SetSubscriptionAttributes", // which IAM may know without a topic
			"route53:AssociateVPCWithHostedZone", // of an endpoint
			"iam:ListEntitiesForPolicy",
		}, jsii.String("*")),
		only("iam:PermissionsBoundary", boundary.ManagedPolicyArn(), "Roles", []string{
			"iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:DetachRolePolicy", "iam:DeleteRolePolicy", "iam:PutRolePermissionsBoundary",
		}, r.arn("iam", "role/"+every)),
		only("iam:PassedToService", []string{"ecs-tasks.amazonaws.com", "lambda.amazonaws.com", "sns.amazonaws.com"}, "PassRoles", []string{"iam:PassRole"}, r.arn("iam", "role/"+every)),
		only("iam:AWSServiceName", []string{
			"ecs.amazonaws.com", "ecs.application-autoscaling.amazonaws.com", "elasticloadbalancing.amazonaws.com", "rds.amazonaws.com", "elasticfilesystem.amazonaws.com",
		}, "LinkedRoles", []string{"iam:CreateServiceLinkedRole"}, r.arn("iam", "role/aws-service-role/*")),
		only("iam:PassedToService", "application-autoscaling.amazonaws.com", "PassScaling", []string{"iam:PassRole"}, r.arn("iam", "role/aws-service-role/ecs.application-autoscaling.amazonaws.com/*")),
		allow("RolesRead", []string{"iam:GetRole", "iam:GetRolePolicy", "iam:ListRolePolicies", "iam:ListAttachedRolePolicies", "iam:TagRole"}, r.arn("iam", "role/"+every)),
		allow("Policies", []string{
			"iam:CreatePolicy", "iam:DeletePolicy", "iam:GetPolicy", "iam:CreatePolicyVersion", "iam:DeletePolicyVersion", "iam:GetPolicyVersion", "iam:ListPolicyVersions", "iam:TagPolicy", "iam:UntagPolicy",
		}, r.arn("iam", "policy/"+every)),
	)
	if secrets := r.secrets(); len(secrets) > 0 {
		made.AddToPolicy(allow("ReadSecrets", []string{"secretsmanager:GetSecretValue"}, secrets...))
	}
	return made
}

// trust is whoever runs in an environment of the source repository.
func (s setup) trust(provider, environment string) awsiam.IPrincipal {
	return awsiam.NewFederatedPrincipal(&provider, &map[string]any{"StringEquals": map[string]any{
		githubIssuer + ":aud": "sts.amazonaws.com",
		githubIssuer + ":sub": "repo:" + s.app.SourceRepository + ":environment:" + environment,
	}}, jsii.String("sts:AssumeRoleWithWebIdentity"))
}

// looks are the rights to look at stacks, parameters and images.
func (r environmentRoles) looks() []awsiam.PolicyStatement {
	return []awsiam.PolicyStatement{
		allow("Look", []string{
			"cloudformation:DescribeStacks", "cloudformation:DescribeStackEvents", "cloudformation:DescribeStackResources", "cloudformation:ListStackResources",
			"cloudformation:GetTemplate", "cloudformation:DescribeChangeSet", "cloudformation:ListChangeSets", "cloudformation:GetTemplateSummary",
		}, r.stacks()),
		allow("Lists", []string{"cloudformation:DescribeStacks", "cloudformation:ListStacks", "cloudformation:ListExports", "logs:DescribeLogGroups"}, jsii.String("*")),
		allow("Parameters", []string{"ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"},
			append(r.paths("ssm", "parameter/"), r.arn("ssm", "parameter/cdk-bootstrap/"+bootstrapQualifier+"/version"))...),
		allow("Images", []string{"ecr:DescribeImages", "ecr:BatchGetImage"}, r.arn("ecr", "repository/*")),
	}
}

// newPlan makes the role that shows what a deployment would change.
func (r environmentRoles) newPlan(provider string, execution awsiam.Role) {
	bucket := "cdk-" + bootstrapQualifier + "-assets-" + r.account + "-*"
	r.role("Plan", planRole, "make change sets, and execute none, of", r.trust(provider, r.name()+"-plan"), append(
		r.looks(),
		// What stayed when a stack went is looked for, to be taken back.
		allow("Leftovers", []string{"sqs:GetQueueUrl", "sqs:GetQueueAttributes"}, r.arn("sqs", r.prefix+"*")),
		allow("LeftTopics", []string{"sns:GetTopicAttributes"}, r.arn("sns", r.prefix+"*")),
		// The CDK protects a stack of production when it makes its first change set. Who could take that away can still delete nothing.
		allow("ChangeSets", []string{"cloudformation:CreateChangeSet", "cloudformation:DeleteChangeSet", "cloudformation:UpdateTerminationProtection"}, r.stacks()),
		only("iam:PassedToService", "cloudformation.amazonaws.com", "PassExecution", []string{"iam:PassRole"}, execution.RoleArn()),
		allow("Templates", []string{"s3:GetObject*", "s3:PutObject", "s3:ListBucket", "s3:GetBucketLocation", "s3:GetEncryptionConfiguration"},
			r.arn("s3", bucket), r.arn("s3", bucket+"/*")),
	)...)
}

// newDeploy makes the role that executes what was planned, and runs migrations.
func (r environmentRoles) newDeploy(provider string) {
	made := r.role("Deploy", deployRole, "execute change sets, and run migrations, of", r.trust(provider, r.name()), append(
		r.looks(),
		allow("Execute", []string{"cloudformation:ExecuteChangeSet", "cloudformation:RollbackStack", "cloudformation:ContinueUpdateRollback"}, r.stacks()),
		allow("Migrate", []string{"ecs:RunTask", "ecs:DescribeTasks"}, r.arn("ecs", "task-definition/"+r.named("database-*")), r.arn("ecs", "task/"+r.named("database/*"))),
		allow("MigrateLog", []string{"ecs:DescribeTaskDefinition"}, jsii.String("*")),
		only("iam:PassedToService", "ecs-tasks.amazonaws.com", "PassTasks", []string{"iam:PassRole"}, r.arn("iam", "role/"+r.named("database-*"))),
	)...)
	if r.environment.ThrowAway() {
		made.AddToPolicy(allow("Delete", []string{"cloudformation:DeleteStack"}, r.stacks()))
	}
}

// name is the environment's, without what makes it many.
func (r environmentRoles) name() string { return strings.TrimSuffix(r.environment.Name, "-*") }

// synthesizer is by which roles the CDK deploys a stack: nil means those of its bootstrap. With roles of its own an environment is deployed with
// the credentials of whoever calls the CDK, and CloudFormation makes the resources as the environment's execution role.
func (t target) synthesizer() awscdk.IStackSynthesizer {
	e := t.Environment
	if !e.OwnRoles {
		return nil
	}
	none := jsii.String("")
	return awscdk.NewDefaultStackSynthesizer(&awscdk.DefaultStackSynthesizerProps{
		Qualifier: jsii.String(bootstrapQualifier), DeployRoleArn: none, FileAssetPublishingRoleArn: none, LookupRoleArn: none, ImageAssetPublishingRoleArn: none,
		CloudFormationExecutionRole: jsii.String("arn:${AWS::Partition}:iam::${AWS::AccountId}:role/" + t.app.Topology.RoleName(e, executionRole)),
	})
}
