"""The classes that karbor-api rebuilds errors from: names, codes, templates.

A constructor takes a ready message first, or fills the class's template from
the keywords; `code` among them overrides the class's own.
"""
# SPDX-License-Identifier: Apache-2.0


class KarborException(Exception):
    message = 'An unknown exception occurred.'
    code = 500

    def __init__(self, message=None, **kwargs):
        if 'message' in kwargs:
            raise TypeError('message is no keyword')
        self.kwargs = kwargs
        self.code = kwargs.get('code', type(self).code)
        self.msg = type(self).message % kwargs if message is None else message
        # What a client is told must be what the template would have said.
        self.rebuilt = type(self).message % kwargs
        super().__init__(self.msg)


RESOURCE = 'failed: %(reason)s, id=%(resource_id)s, type=%(resource_type)s'

CLASSES = {
    'NotAuthorized': (403, 'Not authorized.'),
    'InvalidPlan': (400, 'Invalid plan: %(reason)s'),
    'InvalidInput': (400, 'Invalid input received: %(reason)s'),
    'InvalidParameterValue': (400, '%(err)s'),
    'ProviderNotFound': (404, 'Provider %(provider_id)s could not be found.'),
    'CheckpointNotFound': (
        404, 'Checkpoint %(checkpoint_id)s could not be found.'),
    'ProtectableTypeNotFound': (
        404, 'ProtectableType %(protectable_type)s could not be found.'),
    'ProtectableResourceNotFound': (
        404, 'The resource %(id)s of type %(type)s could not be found: '
             '%(reason)s'),
    'ProtectionPluginNotFound': (
        404, 'Protection Plugin for %(type)s could not be found.'),
    'RestoreNotFound': (404, 'Restore %(restore_id)s could not be found.'),
    'VerificationNotFound': (
        404, 'Verification %(verification_id)s could not be found.'),
    'ConfigNotFound': (404, 'Could not find config at %(path)s'),
    'AccessCheckpointNotAllowed': (
        403, 'Access checkpoint %(checkpoint_id)s is not allowed'),
    'DeleteCheckpointNotAllowed': (
        403, 'Delete checkpoint %(checkpoint_id)s is not allowed'),
    'AuthorizationFailure': (403, 'Authorization for %(obj)s is failed '),
    'FlowError': (500, 'Flow: %(flow)s, Error: %(error)s'),
    'CheckpointNotAvailable': (
        500, 'The checkpoint %(checkpoint_id)s is not available'),
    'CheckpointNotBeDeleted': (
        500, 'The checkpoint %(checkpoint_id)s can not be deleted.'),
    'CheckpointNotBeReset': (
        500, 'The checkpoint %(checkpoint_id)s can not be reset.'),
    'ListProtectableResourceFailed': (
        500, 'List protectable resources of type %(type)s failed: %(reason)s'),
    'ProtectableResourceInvalidStatus': (
        500, 'The resource %(id)s of type %(type)s has a invalid status: '
             '%(status)s'),
    'BankUpdateObjectFailed': (
        500, 'Update Object %(key)s in Bank Failed: %(reason)s'),
    'BankDeleteObjectFailed': (
        500, 'Delete Object %(key)s in Bank Failed: %(reason)s'),
    'BankGetObjectFailed': (
        500, 'Get Object %(key)s in Bank Failed: %(reason)s'),
    'BankListObjectsFailed': (500, 'Get Object in Bank Failed: %(reason)s'),
    'BankReadonlyViolation': (500, 'Bank read-only violation'),
    'AcquireLeaseFailed': (500, 'Acquire Lease in Failed: %(reason)s'),
    'CreateContainerFailed': (
        500, 'Create Container in Bank Failed: %(reason)s'),
    'CreateResourceFailed': (500, 'Create %(name)s ' + RESOURCE),
    'DeleteResourceFailed': (500, 'Delete %(name)s ' + RESOURCE),
    'RestoreResourceFailed': (500, 'Restore %(name)s ' + RESOURCE),
    'VerifyResourceFailed': (500, 'Verify %(name)s ' + RESOURCE),
    'GetProtectionNetworkSubResourceFailed': (
        500, 'Get protection network sub-resources of type %(type)s failed: '
             '%(reason)s'),
}

for name, (code, template) in CLASSES.items():
    globals()[name] = type(name, (KarborException,), {
        'code': code, 'message': template, '__module__': __name__})
