// SPDX-License-Identifier: Apache-2.0

package golden

import (
	"errors"
	"strings"
)

// deviation is one aspect of an outcome that is ours on purpose.
type deviation struct {
	want   string    // the whole text, or
	edit   [2]string // what stands in the recording, and what in its place
	reason string
}

// apply turns the recorded text into the wanted one.
func (d deviation) apply(recorded string) (string, error) {
	if d.reason == "" {
		return "", errors.New("it has no reason")
	}
	want := d.want
	if d.edit[0] != "" {
		if !strings.Contains(recorded, d.edit[0]) {
			return recorded, errors.New("the recording has nothing to edit")
		}
		want = strings.ReplaceAll(recorded, d.edit[0], d.edit[1])
	}
	if want == recorded {
		return want, errors.New("it is none: the original does the same")
	}
	return want, nil
}

// Reasons that several scenarios share.
const (
	noBuiltins = "no error of Python itself leaves the service: karbor-api can show its users those of karbor.exception only, " +
		"so a wrong argument is InvalidInput or what is missing is said to be not found"
	realOrder = "the original's file-system bank lists in the order of a set, ignores marker and direction, and takes the last entries " +
		"for the first; with us every bank lists by time of creation, and marker, limit and sort_dirs work"
	wrongPlan   = "a plan of a wrong shape is refused before anything is written, with InvalidPlan that names what is wrong"
	notExposed  = "only the methods of the API can be called, not every public method of the manager"
	errorText   = "error_info tells why the operation failed"
	noopCopies  = "the no-op plugin succeeds at verify and copy too, where the original fails for want of the operation"
	dictPlan    = "a plan as a plain object means the same as the versioned object"
	noOracle    = "what another project has is answered as what nobody has: the difference would tell which ids there are"
	reasonEmpty = "a status comes with a reason, which is empty on success: the original's own plugins do that, its test plugin did not"
)

// In the order of their creation, the checkpoints of the no-op provider.
const (
	cp1 = "75019568-6138-4274-baaa-09d01c2c2743\n"
	cp2 = "f62496a4-793c-462a-8733-2b16b34e7bd4\n"
	cp3 = "86778063-f0c5-440a-a756-fa7fa07b11a8\n"
	cp4 = "ed87b4d0-2d2b-4558-8c91-4703892c5070\n"
	cp5 = "ba5a7408-d70b-46a1-bbce-6c5a11168da1\n"
	cp6 = "6bd58a83-159c-4369-bbbf-87fb1e9fe99c\n"
	cp7 = "789d46ac-580b-4d99-8d6a-030bfa65dcb2\n"
	cp8 = "7af30c72-89a5-4586-b362-6c365f633911\n"

	oldestFirst = cp1 + cp2 + cp3 + cp4 + cp5 + cp6 + cp7 + cp8
	newestFirst = cp8 + cp7 + cp6 + cp5 + cp4 + cp3 + cp2 + cp1
)

// answers is a deviation in the reply alone.
func answers(reply, reason string) map[string]deviation {
	return map[string]deviation{aspectReply: {want: reply, reason: reason}}
}

// fails is the text of a failure of karbor.exception.
func fails(class, message, kwargs string) string {
	return "karbor.exception." + class + ": " + message + "\nargs [message] kwargs {" + kwargs + "}\n"
}

func invalidInput(reason string) string {
	return fails("InvalidInput", "Invalid input received: "+reason, `"code":400,"reason":"`+strings.ReplaceAll(reason, `"`, `\"`)+`"`)
}

func invalidPlan(reason string) string {
	return fails("InvalidPlan", "Invalid plan: "+reason, `"code":400,"reason":"`+reason+`"`)
}

func notFound(checkpoint string) string {
	return fails("CheckpointNotFound", "Checkpoint "+checkpoint+" could not be found.", `"checkpoint_id":"`+checkpoint+`","code":404`)
}

func noSuchMethod(name string) string {
	return "oslo_messaging.rpc.dispatcher.NoSuchMethod: Endpoint does not support RPC method " + name + "\nargs [message] kwargs {}\n"
}

// deviations lists by scenario and aspect where we do other than the original.
var deviations = map[string]map[string]deviation{
	// Providers and protectables.
	"show_provider_none": {aspectReply: {edit: [2]string{`"provider_id":null`, `"provider_id":"None"`},
		reason: "the arguments of an error are texts"}},
	"list_protectable_instances_unknown_type": answers(fails("ProtectableTypeNotFound", "ProtectableType OS::No::Such could not be found.",
		`"code":404,"protectable_type":"OS::No::Such"`), noBuiltins),
	"show_protectable_instance_nocloud_OS_Kubernetes_Pod": answers(fails("ProtectableResourceNotFound",
		`The resource 11111111-1111-4111-8111-111111111111 of type OS::Kubernetes::Pod could not be found: the parameter "name" is required`,
		`"code":404,"id":"11111111-1111-4111-8111-111111111111","reason":"the parameter \"name\" is required","type":"OS::Kubernetes::Pod"`),
		"the parameter that is missing is named, where the original trips over its own code"),
	"list_protectable_instances_nocloud_OS_Kubernetes_Pod": {aspectReply: {
		edit:   [2]string{"unsupported operand type(s) for +: 'NoneType' and 'str'", "k8s_host is not configured"},
		reason: "the option that is missing is named, where the original trips over its own code",
	}},

	// Protect.
	"protect_plain_dict": {aspectBank: {edit: [2]string{`"name": "n"}`, `"name": "n", "extra_info": null}`},
		reason: "a resource in the bank has all its members, also if the plan came as a plain object without some"}},
	"protect_no_plugin": {
		aspectBank: {edit: [2]string{`"status": "protecting"`, `"status": "error"`},
			reason: "a flow that cannot be made leaves its checkpoint in error, from where it can be deleted; the original leaves it for ever"},
		aspectOperationLogs: {want: "checkpoint_id=<new> created_at=<time> deleted=0 deleted_at=NULL ended_at=<time> " +
			"error_info=Protection Plugin for OS::Glance::Image could not be found. extra_info=NULL operation_type=protect " +
			"plan_id=03b38f8f-b3f7-44a2-a5f5-d6184f05fba7 project_id=11111111-1111-4111-8111-111111111111 " +
			"provider_id=f0000000-0000-4000-8000-00000000000f restore_id=NULL scheduled_operation_id=NULL started_at=<time> " +
			"status=error updated_at=<time>",
			reason: "and its operation log is closed with the reason"},
	},
	"protect_bad_plan_id": answers(invalidInput(`id of the plan: "a b" can be no part of a key in the bank: want 1 to 255 characters, `+
		`letters, digits or one of _.-@, and neither "." nor ".."`), "an id that the bank cannot have is named, where the original fails when it writes"),
	"protect_bad_resource_key": answers(invalidPlan("resources[0]: unexpected member bogus"), wrongPlan),
	"protect_plan_id_missing":  answers(invalidPlan("id is missing"), wrongPlan),
	"protect_task_fails": {aspectOperationLogs: {edit: [2]string{"error_info=NULL", "error_info=the test wants it to fail"},
		reason: errorText}},

	// Checkpoints.
	"show_checkpoint_wrong_provider": answers(notFound("75019568-6138-4274-baaa-09d01c2c2743"),
		"a checkpoint is found through its own provider only, also if others share the bank"),
	"show_checkpoint_notallowed":     answers(notFound("75019568-6138-4274-baaa-09d01c2c2743"), noOracle),
	"restore_notallowed":             answers(notFound("75019568-6138-4274-baaa-09d01c2c2743"), noOracle),
	"reset_state_notallowed":         answers(notFound("75019568-6138-4274-baaa-09d01c2c2743"), noOracle),
	"delete_notallowed":              answers(invalidInput("Invalid checkpoint_id or provider_id"), noOracle),
	"list_checkpoints_all":           answers(oldestFirst, realOrder),
	"list_checkpoints_limit":         answers(cp1, realOrder),
	"list_checkpoints_marker":        answers(oldestFirst[len(cp1):], realOrder),
	"list_checkpoints_plan":          answers(cp1+cp3+cp7, realOrder),
	"list_checkpoints_date":          answers(oldestFirst, realOrder),
	"list_checkpoints_start_only":    answers(oldestFirst, realOrder),
	"list_checkpoints_end_date_only": answers(oldestFirst, realOrder),
	"list_checkpoints_sort_desc":     answers(newestFirst, realOrder),
	"list_checkpoints_sort_asc":      answers(oldestFirst, realOrder),
	"list_checkpoints_status_filter": answers(oldestFirst, realOrder),
	"list_checkpoints_all_tenants_nonadmin": answers(oldestFirst,
		realOrder+"; all_tenants counts for administrators only, and here all checkpoints are the caller's"),
	"list_checkpoints_bad_date": answers(invalidInput("start_date \"yesterday\" is not a date of the form YYYY-MM-DD"), noBuiltins),
	"list_checkpoints_sort_dirs_empty": answers(oldestFirst,
		"an empty list of directions means the usual order, where the original trips over it"),
	"list_checkpoints_filters_none": answers(oldestFirst, "no filters are as good as an empty object, where the original trips over them"),
	"list_checkpoints_unknown_marker": answers(fails("CheckpointNotFound",
		"Checkpoint 00000000-0000-4000-8000-000000000000 could not be found.",
		`"checkpoint_id":"00000000-0000-4000-8000-000000000000","code":404`),
		"a marker that is no checkpoint is the caller's mistake, and none of the bank's"),

	// Restore and verification.
	"restore_testplugin": {aspectRestores: {
		edit: [2]string{`resources_reason=NULL resources_status={"OS::Cinder::Volume#aaaaaaaa-0000-4000-8000-000000000001":"available"}`,
			`resources_reason={"OS::Cinder::Volume#aaaaaaaa-0000-4000-8000-000000000000":"","OS::Cinder::Volume#aaaaaaaa-0000-4000-8000-000000000001":""} ` +
				`resources_status={"OS::Cinder::Volume#aaaaaaaa-0000-4000-8000-000000000000":"available","OS::Cinder::Volume#aaaaaaaa-0000-4000-8000-000000000001":"available"}`},
		reason: "of two resources that are restored at a time both statuses are kept, of which the original loses one; " + reasonEmpty,
	}},
	"restore_task_fails": {aspectOperationLogs: {edit: [2]string{"error_info=NULL", "error_info=the test wants it to fail"},
		reason: errorText}},
	"restore_invalid_noop_schema_KeyError": answers(invalidInput("The restore property of restore parameters is invalid."), noBuiltins),
	"restore_none":                         answers(invalidInput("Restore: it is missing"), noBuiltins),
	"verification_testplugin": {aspectVerifications: {edit: [2]string{"resources_reason=NULL",
		`resources_reason={"OS::Cinder::Volume#aaaaaaaa-0000-4000-8000-000000000000":"","OS::Cinder::Volume#aaaaaaaa-0000-4000-8000-000000000001":""}`},
		reason: reasonEmpty}},
	"verification_noop": {
		aspectReply:         {want: "null\n", reason: noopCopies},
		aspectVerifications: {edit: [2]string{"status=in_progress updated_at=NULL", "status=success updated_at=<time>"}, reason: noopCopies},
		aspectOperationLogs: {want: "checkpoint_id=75019568-6138-4274-baaa-09d01c2c2743 created_at=<time> deleted=0 deleted_at=NULL " +
			"ended_at=<time> error_info=NULL extra_info=NULL operation_type=verify plan_id=NULL " +
			"project_id=11111111-1111-4111-8111-111111111111 provider_id=b766f37c-d011-4026-8228-28730d734a3f restore_id=NULL " +
			"scheduled_operation_id=NULL started_at=<time> status=success updated_at=<time>", reason: noopCopies},
	},

	// Copy.
	"copy_noop":       answers(copiesOfNoop, noopCopies),
	"copy_plain_dict": answers(copiesOfNoop, dictPlan+"; "+noopCopies),

	// Reset and delete.
	"reset_state_arbitrary": answers(invalidInput(`argument state: want "available" or "error"`),
		"a status that nothing knows would leave the checkpoint in it for ever"),
	"delete": {aspectOperationLogs: {edit: [2]string{"operation_type=protect", "operation_type=delete"}, reason: deleteLogged}},
	"delete_testplugin": {aspectOperationLogs: {edit: [2]string{"operation_type=protect", "operation_type=delete"},
		reason: deleteLogged}},

	// The protocol.
	"proto_minor_version": answers(`b766f37c-d011-4026-8228-28730d734a3f
cf56bd3e-97a7-4078-b6d5-f36246333fd9
e3982e71-f44d-4b09-8abd-3e53e4b80d10
f0000000-0000-4000-8000-000000000001
f0000000-0000-4000-8000-000000000002
f0000000-0000-4000-8000-000000000003
f0000000-0000-4000-8000-00000000000f
`, "version 1.1 is there: it adds list_operations, show_operation and cancel_operation to 1.0"),
	"proto_other_public_method": answers(noSuchMethod("service_version"), notExposed),
	"proto_is_working":          answers(noSuchMethod("is_working"), notExposed),
	"proto_service_config":      answers(noSuchMethod("service_config"), notExposed),
}

const deleteLogged = "a deletion is logged as one, and not as a protection"

// copiesOfNoop are the copies of both available checkpoints of a plan.
const copiesOfNoop = `[{"checkpoint_protect_id":"75019568-6138-4274-baaa-09d01c2c2743","checkpoint_copy_id":"<new>"},` +
	`{"checkpoint_protect_id":"86778063-f0c5-440a-a756-fa7fa07b11a8","checkpoint_copy_id":"<new>"}]` + "\n"
