package stacks

import (
	"strconv"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsrds"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/device-fanout/fanout/infra/topology"
)

const (
	databaseName  = "fanout" // of the database, and of its user
	databasePort  = 5432
	postgresMajor = "17"
	auroraVersion = "17.5"

	// databaseVariable is where a consumer finds its database.
	databaseVariable = "FANOUT_DATABASE"
)

// newDatabaseStack makes the database of an environment, and the tasks that bring its tables up to date before a program is rolled out.
// RDS makes the user's password, keeps it in Secrets Manager and changes it every week.
func newDatabaseStack(app constructs.Construct, t target) *DatabaseStack {
	stack := newStack(app, t, t.DatabaseStack(), "Fanout: the database of "+t.Environment.Name, "")
	made := &DatabaseStack{Stack: stack, Key: newKey(stack, t)}
	n := t.networkIn(stack, false)
	group := func(id, about string) awsec2.SecurityGroup {
		return awsec2.NewSecurityGroup(stack, &id, &awsec2.SecurityGroupProps{Vpc: n.vpc, Description: &about, AllowAllOutbound: jsii.Bool(false)})
	}
	// Whoever is in the group of clients may connect; each service's stack puts its own into it, so that a new one needs no change here.
	clients, server := group("Clients", "those who may call the database"), group("Server", "the database")
	server.AddIngressRule(clients, awsec2.Port_Tcp(jsii.Number(databasePort)), jsii.String("clients"), nil)
	clients.AddEgressRule(server, awsec2.Port_Tcp(jsii.Number(databasePort)), jsii.String("the database"), nil)
	subnets := awsrds.NewCfnDBSubnetGroup(stack, jsii.String("Subnets"), &awsrds.CfnDBSubnetGroupProps{
		DbSubnetGroupName: stack.StackName(), DbSubnetGroupDescription: jsii.String("private subnets of " + t.Environment.Name),
		SubnetIds: anyOf(*n.vpc.SelectSubnets(n.private).SubnetIds...),
	})
	var host, secret *string
	if t.Environment.Database.Kind == topology.AuroraServerless {
		host, secret = newCluster(stack, t, subnets, server, made.Key)
	} else {
		host, secret = newInstance(stack, t, subnets, server, made.Key)
	}
	publish(stack, t, "Host", "database/host", host, "the host of the database")
	publish(stack, t, "SecretArn", "database/secret-arn", secret, "the secret with the user and the password of the database")
	publish(stack, t, "ClientsGroup", "database/client-security-group", clients.SecurityGroupId(), "the security group of those who may call the database")
	newMigrations(stack, t, n, clients, database{host: host, secret: secret})
	return made
}

// newInstance makes an instance of RDS for PostgreSQL.
func newInstance(stack awscdk.Stack, t target, subnets awsrds.CfnDBSubnetGroup, group awsec2.SecurityGroup, key awskms.Key) (host, secret *string) {
	d := t.Environment.Database
	instance := awsrds.NewCfnDBInstance(stack, jsii.String("Instance"), &awsrds.CfnDBInstanceProps{
		DbInstanceIdentifier: stack.StackName(), Engine: jsii.String("postgres"), EngineVersion: jsii.String(postgresMajor),
		DbInstanceClass: jsii.String("db." + d.Instance), StorageType: jsii.String("gp3"),
		AllocatedStorage: jsii.String(strconv.Itoa(d.StorageGiB)), MaxAllocatedStorage: jsii.Number(4 * d.StorageGiB),
		DbName: jsii.String(databaseName), MasterUsername: jsii.String(databaseName), ManageMasterUserPassword: jsii.Bool(true),
		MultiAz: &d.Standby, BackupRetentionPeriod: jsii.Number(d.BackupDays), CopyTagsToSnapshot: jsii.Bool(true),
		DeletionProtection: &t.Environment.Production, AutoMinorVersionUpgrade: jsii.Bool(true), PubliclyAccessible: jsii.Bool(false),
		StorageEncrypted: jsii.Bool(true), KmsKeyId: keyARN(key),
		DbSubnetGroupName: subnets.Ref(), VpcSecurityGroups: anyOf(group.SecurityGroupId()),
		EnableCloudwatchLogsExports: jsii.Strings("postgresql"),
	})
	keepDatabase(instance, t)
	acceptDatabase(instance, t)
	return instance.AttrEndpointAddress(), instance.AttrMasterUserSecretSecretArn()
}

// newCluster makes a cluster of Aurora PostgreSQL Serverless v2.
func newCluster(stack awscdk.Stack, t target, subnets awsrds.CfnDBSubnetGroup, group awsec2.SecurityGroup, key awskms.Key) (host, secret *string) {
	d := t.Environment.Database
	cluster := awsrds.NewCfnDBCluster(stack, jsii.String("Aurora"), &awsrds.CfnDBClusterProps{
		DbClusterIdentifier: stack.StackName(), Engine: jsii.String("aurora-postgresql"), EngineVersion: jsii.String(auroraVersion),
		DatabaseName: jsii.String(databaseName), MasterUsername: jsii.String(databaseName), ManageMasterUserPassword: jsii.Bool(true),
		ServerlessV2ScalingConfiguration: &awsrds.CfnDBCluster_ServerlessV2ScalingConfigurationProperty{
			MinCapacity: &d.MinCapacity, MaxCapacity: &d.MaxCapacity,
		},
		BackupRetentionPeriod: jsii.Number(d.BackupDays), CopyTagsToSnapshot: jsii.Bool(true), DeletionProtection: &t.Environment.Production,
		StorageEncrypted: jsii.Bool(true), KmsKeyId: keyARN(key),
		DbSubnetGroupName: subnets.Ref(), VpcSecurityGroupIds: anyOf(group.SecurityGroupId()),
		EnableCloudwatchLogsExports: jsii.Strings("postgresql"),
	})
	keepDatabase(cluster, t)
	acceptDatabase(cluster, t)
	members := []string{"Writer"}
	if d.Standby {
		members = append(members, "Reader")
	}
	for _, id := range members {
		member := awsrds.NewCfnDBInstance(stack, &id, &awsrds.CfnDBInstanceProps{
			DbClusterIdentifier: cluster.Ref(), Engine: jsii.String("aurora-postgresql"), DbInstanceClass: jsii.String("db.serverless"),
			AutoMinorVersionUpgrade: jsii.Bool(true), PubliclyAccessible: jsii.Bool(false),
		})
		acceptDatabase(member, t)
	}
	return cluster.AttrEndpointAddress(), cluster.AttrMasterUserSecretSecretArn()
}

// keepDatabase leaves a snapshot where production's database is deleted or replaced.
func keepDatabase(r awscdk.CfnResource, t target) {
	policy := awscdk.RemovalPolicy_DESTROY
	if t.Environment.Production {
		policy = awscdk.RemovalPolicy_SNAPSHOT
	}
	r.ApplyRemovalPolicy(policy, nil)
}

func acceptDatabase(r awscdk.CfnResource, t target) {
	suppress(r, "AwsSolutions-RDS11", "only the group of clients reaches the port, whichever it is")
	suppress(r, "AwsSolutions-RDS6", "programs sign in with the password that RDS keeps and changes every week")
	if !t.Environment.Production {
		suppress(r, "AwsSolutions-RDS3", "what is not production has a second instance only if it asks for one")
		suppress(r, "AwsSolutions-RDS10", "what is not production can be deleted")
	}
}

func keyARN(key awskms.Key) *string {
	if key == nil {
		return nil
	}
	return key.KeyArn()
}

// database is the environment's database as one stack knows it.
type database struct {
	host, secret *string
	clients      awsec2.ISecurityGroup // nil where its own stack knows it already
}

// databaseIn is the environment's database as the stack of a service knows it.
func (t target) databaseIn(stack awscdk.Stack) database {
	group := t.published(stack, "database/client-security-group")
	return database{
		host: t.published(stack, "database/host"), secret: t.published(stack, "database/secret-arn"),
		clients: awsec2.SecurityGroup_FromSecurityGroupId(stack, jsii.String("DatabaseClients"), group, &awsec2.SecurityGroupImportOptions{Mutable: jsii.Bool(false)}),
	}
}

// variables tell a program where the database is; the password it reads from the secret when it needs one, so that a new one is no deployment.
func (d database) variables() map[string]*string {
	return map[string]*string{
		databaseVariable: jsii.String("secretsmanager:" + *d.secret),
		"PGHOST":         d.host, "PGPORT": jsii.String(strconv.Itoa(databasePort)), "PGDATABASE": jsii.String(databaseName), "PGSSLMODE": jsii.String("require"),
	}
}

// allow is the right to read the password.
func (d database) allow() awsiam.PolicyStatement {
	return allow("ReadDatabaseSecret", []string{"secretsmanager:GetSecretValue"}, d.secret)
}

// newMigrations declares a task for every image whose services keep their data in the environment's database. scripts/deploy runs them
// before it rolls the services out.
func newMigrations(stack awscdk.Stack, t target, n network, clients awsec2.ISecurityGroup, d database) {
	repositories := map[string]bool{}
	for _, s := range t.Services {
		if s.Compute.Database {
			repositories[s.Compute.Repository] = true
		}
	}
	if len(repositories) == 0 {
		return
	}
	cluster := newTaskCluster(stack, t.DatabaseStack(), n)
	group := newGroup(stack, n, "Out", "a migration calls AWS and the database")
	for _, repository := range sortedKeys(repositories) {
		id := "Migrate-" + inName(repository)
		scope := constructs.NewConstruct(stack, &id)
		task := newTask(scope, t, program{
			name: t.DatabaseStack() + "-" + inName(repository), log: newLog(scope, t, "migrate/"+repository), container: "Migrate",
			repository: repository, command: []string{"migrate", "--env", t.Environment.Name}, // all services that the image has, so that a new one needs no change here
			cpu: 256, memory: 512, variables: d.variables(),
		})
		task.TaskRole().AddToPrincipalPolicy(d.allow())
		publish(stack, t, id+"-Task", "database/migrate/"+repository, task.TaskDefinitionArn(), "the task that migrates the tables of the services of "+repository)
	}
	groups := []*string{group.SecurityGroupId(), clients.SecurityGroupId()}
	publish(stack, t, "MigrateCluster", "database/migrate-cluster", cluster.ClusterName(), "the cluster where migrations run")
	publish(stack, t, "MigrateSubnets", "database/migrate-subnets", awscdk.Fn_Join(jsii.String(","), n.vpc.SelectSubnets(n.private).SubnetIds), "the subnets where migrations run")
	publish(stack, t, "MigrateGroups", "database/migrate-security-groups", awscdk.Fn_Join(jsii.String(","), &groups), "the security groups of migrations")
}
