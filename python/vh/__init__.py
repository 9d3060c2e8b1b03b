# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""libvh for Python. So far it holds vh.testing, the conformance kit for vhost-user peers."""
