//go:build !race

package stacks_test

import (
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatchactions"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsdynamodb"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/jsii-runtime-go"

	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/stacks"
)

// The whole program of a team whose service history keeps what it needs in a table, and whose gateways run on EC2.
func Example() {
	stacks.Main(stacks.App{
		Topology:            declaration.Topology(),
		Program:             "shop",
		Tags:                map[string]string{"cost-center": "4711"},
		PermissionsBoundary: "developer-boundary",
		Extend: func(s *stacks.Stacks) {
			history := s.Service("history")
			table := awsdynamodb.NewTable(history.Stack, jsii.String("Table"), &awsdynamodb.TableProps{
				PartitionKey: &awsdynamodb.Attribute{Name: jsii.String("id"), Type: awsdynamodb.AttributeType_STRING},
			})
			if history.Role != nil { // the consumer runs in AWS
				table.GrantReadWriteData(history.Role)
				history.AddEnvironment("HISTORY_TABLE", *table.TableName())
			}
			alarm := table.MetricUserErrors(nil).CreateAlarm(history.Stack, jsii.String("TableErrors"), &awscloudwatch.CreateAlarmOptions{
				AlarmName: jsii.String(s.Deployment.Scope() + "-history-table-errors"), Threshold: jsii.Number(1), EvaluationPeriods: jsii.Number(1),
			})
			alarm.AddAlarmAction(awscloudwatchactions.NewSnsAction(history.AlarmTopic))

			awsiam.NewRole(s.Topic.Stack, jsii.String("Gateway"), &awsiam.RoleProps{
				AssumedBy:       awsiam.NewServicePrincipal(jsii.String("ec2.amazonaws.com"), nil),
				ManagedPolicies: &[]awsiam.IManagedPolicy{s.Topic.ProducerPolicy},
			})
		},
	})
}
