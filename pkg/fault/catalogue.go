// SPDX-License-Identifier: Apache-2.0

package fault

// The classes that callers receive or that end in a record that users read.
// karbor: exception.py
var (
	karborException           = class{"KarborException", 500, "An unknown exception occurred."}
	notAuthorized             = class{"NotAuthorized", 403, "Not authorized."}
	invalidPlan               = class{"InvalidPlan", 400, "Invalid plan: %(reason)s"}
	invalidInput              = class{"InvalidInput", 400, "Invalid input received: %(reason)s"}
	invalidParameterValue     = class{"InvalidParameterValue", 400, "%(err)s"}
	providerNotFound          = class{"ProviderNotFound", 404, "Provider %(provider_id)s could not be found."}
	checkpointNotFound        = class{"CheckpointNotFound", 404, "Checkpoint %(checkpoint_id)s could not be found."}
	protectableTypeNotFound   = class{"ProtectableTypeNotFound", 404, "ProtectableType %(protectable_type)s could not be found."}
	protectableNotFound       = class{"ProtectableResourceNotFound", 404, "The resource %(id)s of type %(type)s could not be found: %(reason)s"}
	protectionPluginNotFound  = class{"ProtectionPluginNotFound", 404, "Protection Plugin for %(type)s could not be found."}
	restoreNotFound           = class{"RestoreNotFound", 404, "Restore %(restore_id)s could not be found."}
	verificationNotFound      = class{"VerificationNotFound", 404, "Verification %(verification_id)s could not be found."}
	operationLogNotFound      = class{"OperationLogNotFound", 404, "OperationLog %(operation_log_id)s could not be found."}
	configNotFound            = class{"ConfigNotFound", 404, "Could not find config at %(path)s"}
	accessNotAllowed          = class{"AccessCheckpointNotAllowed", 403, "Access checkpoint %(checkpoint_id)s is not allowed"}
	deleteNotAllowed          = class{"DeleteCheckpointNotAllowed", 403, "Delete checkpoint %(checkpoint_id)s is not allowed"}
	authorizationFailure      = class{"AuthorizationFailure", 403, "Authorization for %(obj)s is failed "}
	flowError                 = class{"FlowError", 500, "Flow: %(flow)s, Error: %(error)s"}
	checkpointNotAvailable    = class{"CheckpointNotAvailable", 500, "The checkpoint %(checkpoint_id)s is not available"}
	checkpointNotBeDeleted    = class{"CheckpointNotBeDeleted", 500, "The checkpoint %(checkpoint_id)s can not be deleted."}
	checkpointNotBeReset      = class{"CheckpointNotBeReset", 500, "The checkpoint %(checkpoint_id)s can not be reset."}
	listProtectableFailed     = class{"ListProtectableResourceFailed", 500, "List protectable resources of type %(type)s failed: %(reason)s"}
	protectableInvalidStatus  = class{"ProtectableResourceInvalidStatus", 500, "The resource %(id)s of type %(type)s has a invalid status: %(status)s"}
	bankUpdateObjectFailed    = class{"BankUpdateObjectFailed", 500, "Update Object %(key)s in Bank Failed: %(reason)s"}
	bankDeleteObjectFailed    = class{"BankDeleteObjectFailed", 500, "Delete Object %(key)s in Bank Failed: %(reason)s"}
	bankGetObjectFailed       = class{"BankGetObjectFailed", 500, "Get Object %(key)s in Bank Failed: %(reason)s"}
	bankListObjectsFailed     = class{"BankListObjectsFailed", 500, "Get Object in Bank Failed: %(reason)s"}
	bankReadonlyViolation     = class{"BankReadonlyViolation", 500, "Bank read-only violation"}
	acquireLeaseFailed        = class{"AcquireLeaseFailed", 500, "Acquire Lease in Failed: %(reason)s"}
	createContainerFailed     = class{"CreateContainerFailed", 500, "Create Container in Bank Failed: %(reason)s"}
	createResourceFailed      = class{"CreateResourceFailed", 500, "Create %(name)s failed: %(reason)s, id=%(resource_id)s, type=%(resource_type)s"}
	deleteResourceFailed      = class{"DeleteResourceFailed", 500, "Delete %(name)s failed: %(reason)s, id=%(resource_id)s, type=%(resource_type)s"}
	restoreResourceFailed     = class{"RestoreResourceFailed", 500, "Restore %(name)s failed: %(reason)s, id=%(resource_id)s, type=%(resource_type)s"}
	verifyResourceFailed      = class{"VerifyResourceFailed", 500, "Verify %(name)s failed: %(reason)s, id=%(resource_id)s, type=%(resource_type)s"}
	networkSubResourcesFailed = class{"GetProtectionNetworkSubResourceFailed", 500, "Get protection network sub-resources of type %(type)s failed: %(reason)s"}
)

// KarborException is the base class: an error that has no class of its own. An
// empty message means the original's "An unknown exception occurred."
func KarborException(message string) *Error {
	e := karborException.with()
	if message != "" {
		e.message = bounded(message)
	}
	return e
}

// NotAuthorized means that the context has neither an administrator nor both a
// user and a project.
func NotAuthorized() *Error { return notAuthorized.with() }

// InvalidPlan means that a plan cannot be used.
func InvalidPlan(reason string) *Error { return invalidPlan.with("reason", reason) }

// InvalidInput means that an argument of a call has a wrong shape or value.
func InvalidInput(reason string) *Error { return invalidInput.with("reason", reason) }

// InvalidParameterValue has the given text as its whole message.
func InvalidParameterValue(text string) *Error { return invalidParameterValue.with("err", text) }

// ProviderNotFound means that no enabled provider has this id.
func ProviderNotFound(id string) *Error { return providerNotFound.with("provider_id", id) }

// CheckpointNotFound means that the provider's bank has no such checkpoint.
func CheckpointNotFound(id string) *Error { return checkpointNotFound.with("checkpoint_id", id) }

// ProtectableTypeNotFound means that no protectable plugin serves this type.
func ProtectableTypeNotFound(resourceType string) *Error {
	return protectableTypeNotFound.with("protectable_type", resourceType)
}

// ProtectableResourceNotFound means that the cloud does not show the resource.
func ProtectableResourceNotFound(resourceType, id, reason string) *Error {
	return protectableNotFound.with("id", id, "type", resourceType, "reason", reason)
}

// ProtectionPluginNotFound means that the provider has no plugin for the type.
func ProtectionPluginNotFound(resourceType string) *Error {
	return protectionPluginNotFound.with("type", resourceType)
}

// RestoreNotFound means that the restores table has no such row.
func RestoreNotFound(id string) *Error { return restoreNotFound.with("restore_id", id) }

// VerificationNotFound means that the verifications table has no such row.
func VerificationNotFound(id string) *Error { return verificationNotFound.with("verification_id", id) }

// OperationLogNotFound means that the operation_logs table has no such row.
func OperationLogNotFound(id string) *Error { return operationLogNotFound.with("operation_log_id", id) }

// ConfigNotFound means that a configuration file or folder does not exist.
func ConfigNotFound(path string) *Error { return configNotFound.with("path", path) }

// AccessCheckpointNotAllowed means that the checkpoint is another project's.
func AccessCheckpointNotAllowed(id string) *Error { return accessNotAllowed.with("checkpoint_id", id) }

// DeleteCheckpointNotAllowed means that the checkpoint to delete is another project's.
func DeleteCheckpointNotAllowed(id string) *Error { return deleteNotAllowed.with("checkpoint_id", id) }

// AuthorizationFailure means that an identity was refused; obj names whose.
func AuthorizationFailure(obj string) *Error { return authorizationFailure.with("obj", obj) }

// FlowError means that the flow of an operation could not be built.
func FlowError(flow, text string) *Error { return flowError.with("flow", flow, "error", text) }

// CheckpointNotAvailable means that the status does not allow to read from it.
func CheckpointNotAvailable(id string) *Error {
	return checkpointNotAvailable.with("checkpoint_id", id)
}

// CheckpointNotBeDeleted means that the status does not allow to delete it.
func CheckpointNotBeDeleted(id string) *Error {
	return checkpointNotBeDeleted.with("checkpoint_id", id)
}

// CheckpointNotBeReset means that the status does not allow to reset it.
func CheckpointNotBeReset(id string) *Error { return checkpointNotBeReset.with("checkpoint_id", id) }

// ListProtectableResourceFailed means that a listing from the cloud failed.
func ListProtectableResourceFailed(resourceType, reason string) *Error {
	return listProtectableFailed.with("type", resourceType, "reason", reason)
}

// ProtectableResourceInvalidStatus means that the resource is in a status in
// which it cannot be protected.
func ProtectableResourceInvalidStatus(resourceType, id, status string) *Error {
	return protectableInvalidStatus.with("id", id, "type", resourceType, "status", status)
}

// BankUpdateObjectFailed means that a bank did not store an object.
func BankUpdateObjectFailed(key, reason string) *Error {
	return bankUpdateObjectFailed.with("reason", reason, "key", key)
}

// BankDeleteObjectFailed means that a bank did not delete an object.
func BankDeleteObjectFailed(key, reason string) *Error {
	return bankDeleteObjectFailed.with("reason", reason, "key", key)
}

// BankGetObjectFailed means that a bank did not return an object.
func BankGetObjectFailed(key, reason string) *Error {
	return bankGetObjectFailed.with("reason", reason, "key", key)
}

// BankListObjectsFailed means that a bank did not list its objects.
func BankListObjectsFailed(reason string) *Error { return bankListObjectsFailed.with("reason", reason) }

// BankReadonlyViolation means that a write went to a read-only section.
func BankReadonlyViolation() *Error { return bankReadonlyViolation.with() }

// AcquireLeaseFailed means that the bank did not grant the lease.
func AcquireLeaseFailed(reason string) *Error { return acquireLeaseFailed.with("reason", reason) }

// CreateContainerFailed means that the bank's container could not be made.
func CreateContainerFailed(reason string) *Error { return createContainerFailed.with("reason", reason) }

// CreateResourceFailed means that a plugin could not back a resource up.
func CreateResourceFailed(name, reason, id, resourceType string) *Error {
	return createResourceFailed.with(resourceArgs(name, reason, id, resourceType)...)
}

// DeleteResourceFailed means that a plugin could not delete a backup.
func DeleteResourceFailed(name, reason, id, resourceType string) *Error {
	return deleteResourceFailed.with(resourceArgs(name, reason, id, resourceType)...)
}

// RestoreResourceFailed means that a plugin could not restore a resource.
func RestoreResourceFailed(name, reason, id, resourceType string) *Error {
	return restoreResourceFailed.with(resourceArgs(name, reason, id, resourceType)...)
}

// VerifyResourceFailed means that a plugin found a bad backup.
func VerifyResourceFailed(name, reason, id, resourceType string) *Error {
	return verifyResourceFailed.with(resourceArgs(name, reason, id, resourceType)...)
}

// GetProtectionNetworkSubResourceFailed means that a part of a network topology
// could not be listed.
func GetProtectionNetworkSubResourceFailed(resourceType, reason string) *Error {
	return networkSubResourcesFailed.with("type", resourceType, "reason", reason)
}

func resourceArgs(name, reason, id, resourceType string) []string {
	return []string{"name", name, "reason", reason, "resource_id", id, "resource_type", resourceType}
}
