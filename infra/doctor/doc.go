// Package doctor finds out what is wrong with a deployed environment: it reads what is there ([Look]) and compares it with the declaration
// ([Judge]).
//
//	seen, err := doctor.Look(ctx, clients, deployment, region)
//	if err != nil {
//		return err // ctx has ended
//	}
//	report := doctor.Judge(deployment, seen, doctor.Words{Program: "fanout"})
//
// Look only reads, and a permission that is missing for one part does not stop the rest: the part is named in [Report.Unseen]. Judge is a
// pure function. What topic, queues and subscriptions are to be comes from package provision, and what a consumer needs of them from where
// consumers ask it.
//
// Resources belong to the environment whose names begin with the deployment's scope and a hyphen, unless their tags name another one. So
// feature-x and feature-xy, or two topologies in one account, are not taken for each other.
//
// Against an endpoint that has SNS and SQS alone, as the local engine, everything else is left out, and a note says so.
package doctor
