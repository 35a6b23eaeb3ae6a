package local_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// covered says which test shows a range of the numbered statements about how SQS and SNS behave. The name of the
// behaviour is the statement in short.
type covered struct {
	first, last int
	test        string
	behaviour   string // within the test; "" when the test as a whole shows it
}

// conformance lists all 136 statements: queues 1-27, sending 28-47, receiving 48-69, FIFO 70-95, dead letters and moves
// 96-105, SNS 106-125, filters 126-136.
var conformance = []covered{
	{1, 1, "TestQueue_Creation", "the URL ends in account and name, and can be looked up"},
	{2, 2, "TestQueue_Creation", "creating again returns the same"},
	{3, 3, "TestQueue_Creation", "a differing attribute is refused and named"},
	{4, 4, "TestQueue_Creation", "the current attributes count, not those of the creation"},
	{5, 5, "TestQueue_Creation", "a differing deduplication is refused and named"},
	{6, 6, "TestQueue_Creation", "bad names are refused"},
	{7, 8, "TestQueue_Creation", "suffix and FifoQueue go together"},
	{9, 10, "TestQueue_Creation", "FIFO attributes are refused on a standard queue"},
	{11, 11, "TestQueue_Creation", "values out of range are refused"},
	{12, 12, "TestQueue_Attributes", "a fresh standard queue has its twelve"},
	{13, 13, "TestQueue_Attributes", "a fresh FIFO queue has four more"},
	{14, 14, "TestQueue_Attributes", "without names there are none"},
	{15, 15, "TestQueue_Attributes", "an unknown name is refused"},
	{16, 16, "TestQueue_Attributes", "an empty text removes a policy"},
	{17, 17, "TestQueue_Creation", "a name is free again a minute after its queue was deleted"},
	{18, 18, "TestQueue_Creation", "any action on a missing queue is refused"},
	{19, 19, "TestQueue_Lists", "pages end in a token"},
	{19, 19, "TestQueue_Lists", "without a limit there is no token, and without a match no list"},
	{20, 20, "TestQueue_RedrivePolicies", "the sources of a dead-letter queue are listed"},
	{21, 22, "TestQueue_Lists", "a purge removes all, once a minute"},
	{22, 22, "TestWire_JSON", "a purge in progress is 403"},
	{23, 23, "TestQueue_Lists", "tags are set, replaced and removed"},
	{24, 24, "TestQueue_RedrivePolicies", "the target must exist and be of the same type"},
	{25, 25, "TestQueue_RedrivePolicies", "the count must be 1 to 1000"},
	{26, 26, "TestQueue_RedrivePolicies", "the target's permission is enforced"},
	{27, 27, "TestQueue_RedrivePolicies", "permissions are checked"},
	{28, 28, "TestSend_Checksums", "of the body"},
	{29, 29, "TestFIFO_Groups", "sequence numbers have 20 digits and grow"},
	{30, 30, "TestSend_Checksums", "of the attributes"},
	{31, 31, "TestSend_Checksums", "of the trace header"},
	{32, 32, "TestSend_Checks", "a body may not be empty"},
	{33, 34, "TestSend_Checks", "the size limit is exact and counts attributes but not the trace header"},
	{35, 35, "TestSend_Checks", "illegal characters are refused, others survive"},
	{36, 36, "TestSend_Checks", "a delay is 0 to 900"},
	{37, 37, "TestFIFO_Delay", "a delay of one message is refused, 0 is not"},
	{38, 38, "TestSend_Checks", "a FIFO queue wants group and deduplication ID"},
	{39, 39, "TestSend_Checks", "IDs have 1 to 128 letters, digits and punctuation"},
	{40, 40, "TestSend_Checks", "a standard queue takes a group but no deduplication ID"},
	{41, 41, "TestSend_Checks", "attributes are checked"},
	{41, 41, "TestSend_Checks", "list values are not supported, as on AWS"},
	{42, 42, "TestSend_Batches", "number and IDs of the entries are checked"},
	{43, 43, "TestSend_Batches", "the whole may have 1 MiB, whatever the queue's limit"},
	{44, 44, "TestSend_Batches", "an entry that fails does not harm the others"},
	{45, 45, "TestSend_Batches", "without failures there is no list of them"},
	{46, 46, "TestWire_JSON", "any path will do, and a queue URL may be a name or have any host"},
	{47, 47, "TestWire_JSON", "unknown actions"},
	{47, 47, "TestWire_JSON", "malformed bodies"},
	{48, 48, "TestReceive_LongPolls", "an empty queue answers at once or when the wait is over"},
	{49, 49, "TestReceive_LongPolls", "a send wakes a poll"},
	{50, 50, "TestReceive_LongPolls", "one message is enough"},
	{51, 51, "TestReceive_LongPolls", "a delayed message arrives during the wait"},
	{52, 52, "TestReceive_LongPolls", "the queue's wait counts when none is given"},
	{53, 53, "TestReceive_LongPolls", "parameters are checked"},
	{54, 54, "TestReceive_Attributes", "none are returned unless asked for"},
	{55, 56, "TestReceive_Attributes", "system attributes are those asked for"},
	{57, 57, "TestReceive_Visibility", "what stays the same and what changes from receive to receive"},
	{58, 59, "TestReceive_Visibility", "the queue's timeout brings a message back, a receive's own too"},
	{60, 60, "TestReceive_Visibility", "a deleted message does not come back"},
	{61, 61, "TestReceive_Visibility", "a garbage handle is refused"},
	{62, 62, "TestReceive_Visibility", "on a standard queue an expired handle deletes"},
	{63, 63, "TestFIFO_Handles", "an expired handle does not delete"},
	{64, 64, "TestReceive_Visibility", "visibility 0 gives back, and counts for this receive only"},
	{65, 65, "TestReceive_Visibility", "on a standard queue a visible message can be hidden again"},
	{66, 66, "TestReceive_Visibility", "nothing is held longer than twelve hours"},
	{67, 67, "TestReceive_Visibility", "entries of batches fail one by one"},
	{68, 68, "TestReceive_Retention", "each message lives from its own send time, also in flight"},
	{69, 69, "TestReceive_Retention", "it does not count from the queue's creation"},
	{69, 69, "TestClock", "retention is four days from a message's own send time, on a queue that is much older"},
	{70, 70, "TestFIFO_Groups", "one receive returns several messages of a group in order"},
	{71, 71, "TestFIFO_Groups", "one receive returns messages of several groups, each in order"},
	{72, 72, "TestFIFO_Groups", "a group in flight is withheld, another is not"},
	{73, 73, "TestFIFO_Groups", "a new send does not unlock its group"},
	{74, 74, "TestFIFO_Groups", "deleting what is in flight wakes a long poll for the rest of the group"},
	{75, 75, "TestFIFO_Groups", "after all received were deleted the rest of the group follows"},
	{76, 76, "TestFIFO_Groups", "one of three polls gets a message"},
	{77, 77, "TestFIFO_Groups", "redelivery starts again from the oldest, in order"},
	{78, 78, "TestFIFO_Groups", "extending the first keeps all behind it locked"},
	{79, 79, "TestFIFO_Groups", "a drained group delivers its next message"},
	{80, 80, "TestFIFO_Groups", "a locked group never hides another"},
	{81, 81, "TestFIFO_Deduplication", "a duplicate is answered with the original and not stored"},
	{82, 82, "TestFIFO_Deduplication", "an ID is remembered after the message was deleted"},
	{83, 83, "TestFIFO_Deduplication", "an ID counts for the whole queue"},
	{84, 84, "TestFIFO_Deduplication", "with scope messageGroup an ID counts for its group"},
	{85, 85, "TestFIFO_Deduplication", "an ID is forgotten five minutes after it was first accepted"},
	{85, 85, "TestClock", "a deduplication ID is free again after five minutes, on queues and topics"},
	{86, 87, "TestFIFO_Deduplication", "by content, only the body counts"},
	{88, 88, "TestFIFO_Deduplication", "an explicit ID wins over the content"},
	{89, 89, "TestFIFO_Deduplication", "entries of one batch are compared with each other"},
	{90, 90, "TestFIFO_Delay", "the queue's delay keeps the order"},
	{91, 91, "TestFIFO_Delay", "a delayed message does not hold back an older visible one"},
	{92, 92, "TestFIFO_Deduplication", "throughput per group needs deduplication per group"},
	{93, 93, "TestFIFO_Deduplication", "content-based deduplication can be turned off"},
	{95, 95, "TestFIFO_ReceiveAttempts", "a repeated attempt returns the same messages and handles"},
	{96, 96, "TestDeadLetters", "a standard message moves at the receive that would be one too many"},
	{97, 98, "TestDeadLetters", "a FIFO message moves, and its group goes on at once"},
	{99, 99, "TestDeadLetters", "messages that shared a deduplication ID both arrive"},
	{100, 100, "TestDeadLetters", "exactly as many deliveries as allowed"},
	{101, 101, "TestMove", "only out of a dead-letter queue, and only to a queue that is there and of the same type"},
	{102, 102, "TestMove", "without a destination messages go back, as new ones"},
	{103, 103, "TestMove", "each message goes back to its own source"},
	{104, 104, "TestMove", "a rate is kept, and long polls are served"},
	{105, 105, "TestMove", "a task is cancelled, and what was not moved stays"},
	{106, 106, "TestTopic_Lifecycle", "bad names are refused"},
	{107, 107, "TestTopic_Lifecycle", "creating and deleting twice is fine"},
	{108, 108, "TestTopic_Lifecycle", "a missing or malformed topic is refused"},
	{109, 110, "TestSubscription_Lifecycle", "endpoint and protocol are checked"},
	{111, 111, "TestSubscription_Lifecycle", "subscribing again with equal or no attributes returns the same"},
	{112, 112, "TestPublish_Delivery", "the envelope of a FIFO topic"},
	{113, 113, "TestPublish_Delivery", "with content-based deduplication the hash is that of the message"},
	{114, 114, "TestPublish_Deduplication", "equal content in two groups is one message"},
	{115, 115, "TestPublish_Delivery", "raw delivery carries body, attributes and IDs"},
	{116, 116, "TestPublish_Delivery", "all queues deliver the same order"},
	{117, 117, "TestPublish_Checks", "IDs go with the kind of topic"},
	{118, 118, "TestPublish_Delivery", "a standard topic forwards the group to standard queues"},
	{119, 119, "TestPublish_Delivery", "what cannot be delivered goes to the subscription's dead-letter queue"},
	{120, 120, "TestSubscription_Lifecycle", "attributes are read and set"},
	{121, 121, "TestPublish_Checks", "the size limit is exact"},
	{122, 122, "TestPublish_Delivery", "a message with structure json has a text for SQS"},
	{123, 123, "TestPublish_Checks", "batches"},
	{124, 124, "TestPublish_Policies", ""},
	{125, 125, "TestPublish_Delivery", "what was published before is not delivered"},
	{126, 126, "TestSubscription_Filters", "a numeric range"},
	{127, 127, "TestSubscription_Filters", "an attribute that must be absent"},
	{128, 128, "TestSubscription_Filters", "one element of an array is enough"},
	{129, 129, "TestSubscription_Filters", "anything but a value wants a value"},
	{126, 129, "TestPolicy_MatchesAttributes", ""},
	{130, 130, "TestSubscription_Filters", "on the body"},
	{131, 131, "TestSubscription_Filters", "on arrays in the body"},
	{132, 132, "TestSubscription_Filters", "a leaf of the body that must be absent, or its parent"},
	{131, 132, "TestPolicy_MatchesBodies", ""},
	{133, 133, "TestSubscription_Filters", "malformed policies are refused"},
	{134, 134, "TestSubscription_Filters", "policies have limits"},
	{135, 135, "TestSubscription_Filters", "attributes have no nested policies"},
	{133, 135, "TestParse_Refuses", ""},
	{136, 136, "TestSubscription_Lifecycle", "attributes are read and set"},
}

// notApplicable are the statements that the engine cannot show, and why.
var notApplicable = map[int]string{
	94: "it is about how clients compare sequence numbers; that theirs overflow 64 bits follows from the 20 digits of 29",
}

// statements names the numbered statements that a behaviour of a test shows, such as "G7-8", or "" for none.
func statements(test, behaviour string) string {
	var numbers []string
	for _, c := range conformance {
		switch {
		case c.test != test || c.behaviour != behaviour:
		case c.first == c.last:
			numbers = append(numbers, fmt.Sprintf("G%d", c.first))
		default:
			numbers = append(numbers, fmt.Sprintf("G%d-%d", c.first, c.last))
		}
	}
	return strings.Join(numbers, " ")
}

func TestConformance_EveryStatementHasItsTest(t *testing.T) {
	t.Parallel()
	tests := make(map[string]string) // the source of each test function
	for _, pattern := range []string{"*_test.go", "internal/filter/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range strings.Split(string(source), "\nfunc ")[1:] {
				name, _, _ := strings.Cut(part, "(")
				tests[name] = part
			}
		}
	}
	const statements = 136
	shown := make(map[int]bool)
	for _, c := range conformance {
		if source, ok := tests[c.test]; !ok || c.behaviour != "" && !strings.Contains(source, `{"`+c.behaviour+`"`) {
			t.Errorf("statements %d to %d: there is no %s with %q", c.first, c.last, c.test, c.behaviour)
		}
		for n := c.first; n <= c.last; n++ {
			shown[n] = true
		}
	}
	for n := 1; n <= statements; n++ {
		_, excused := notApplicable[n]
		if shown[n] == excused {
			t.Errorf("statement %d: shown is %t, listed as not applicable is %t", n, shown[n], excused)
		}
	}
}
