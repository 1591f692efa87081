# SPDX-License-Identifier: Apache-2.0
"""Nova's fake driver, with faults and with images of servers.

No guest runs. The disk of a server is, for ever, the image that it was booted from: an image made of the server has the
same bytes.

Steps at which a server's name or metadata (key "fault") may ask for a fault (see fault.py): create, delete, image, attach
and detach.
"""
import io

from nova.image import glance
from nova.virt import fake

from fault import provoke


def asked(instance):
    return instance.display_name, (instance.metadata or {}).get("fault")


class Driver(fake.FakeDriver):
    def spawn(self, context, instance, *args, **kwargs):
        provoke("create", *asked(instance))
        super().spawn(context, instance, *args, **kwargs)

    def destroy(self, context, instance, *args, **kwargs):
        provoke("delete", *asked(instance))
        super().destroy(context, instance, *args, **kwargs)

    def snapshot(self, context, instance, image_id, update_task_state):
        super().snapshot(context, instance, image_id, update_task_state)
        provoke("image", *asked(instance))
        images = glance.API()
        disk = io.BytesIO()
        images.download(context, instance.image_ref, data=disk)  # without data Nova returns a stream that it has closed
        disk.seek(0)
        target = images.get(context, image_id)
        images.update(context, image_id, {
            "name": target["name"], "disk_format": "raw", "container_format": "bare", "properties": target["properties"],
        }, data=disk, purge_props=False)

    def attach_volume(self, context, connection_info, instance, *args, **kwargs):
        provoke("attach", *asked(instance))
        super().attach_volume(context, connection_info, instance, *args, **kwargs)

    def detach_volume(self, context, connection_info, instance, *args, **kwargs):
        provoke("detach", *asked(instance))
        super().detach_volume(context, connection_info, instance, *args, **kwargs)
