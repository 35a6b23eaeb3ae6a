package queue

import "github.com/device-fanout/fanout/infra/local/internal/apierr"

// Codes of the errors that this package returns, as the SQS API knows them.
const (
	CodeAccessDenied           = "AccessDenied"
	CodeBatchEntryIDsNotUnique = "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"
	CodeBatchTooLong           = "AWS.SimpleQueueService.BatchRequestTooLong"
	CodeBatchTooMany           = "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"
	CodeDeletedRecently        = "AWS.SimpleQueueService.QueueDeletedRecently"
	CodeEmptyBatch             = "AWS.SimpleQueueService.EmptyBatchRequest"
	CodeEmptyValue             = "EmptyValue"
	CodeInvalidAttributeName   = "InvalidAttributeName"
	CodeInvalidAttributeValue  = "InvalidAttributeValue"
	CodeInvalidBatchEntryID    = "AWS.SimpleQueueService.InvalidBatchEntryId"
	CodeInvalidContents        = "InvalidMessageContents"
	CodeInvalidParameter       = "InvalidParameterValue"
	CodeInvalidReceiptHandle   = "ReceiptHandleIsInvalid"
	CodeMissingParameter       = "MissingParameter"
	CodeNonExistentQueue       = "AWS.SimpleQueueService.NonExistentQueue"
	CodeOverLimit              = "OverLimit"
	CodePurgeInProgress        = "AWS.SimpleQueueService.PurgeQueueInProgress"
	CodeQueueExists            = "QueueAlreadyExists"
	CodeResourceNotFound       = "ResourceNotFoundException"
	CodeUnsupportedOperation   = "AWS.SimpleQueueService.UnsupportedOperation"
)

func errNonExistentQueue() error {
	return apierr.New(CodeNonExistentQueue, "The specified queue does not exist.")
}

func errInvalidValue(value any, parameter, reason string, args ...any) error {
	reason = apierr.New("", reason, args...).Message
	return apierr.New(CodeInvalidParameter, "Value %v for parameter %s is invalid. Reason: %s", value, parameter, reason)
}

func errPurgeInProgress(name string) error {
	return apierr.New(CodePurgeInProgress, "Only one PurgeQueue operation on %s is allowed every 60 seconds.", name)
}

func errMissing(parameter string) error {
	return apierr.New(CodeMissingParameter, "The request must contain the parameter %s.", parameter)
}
