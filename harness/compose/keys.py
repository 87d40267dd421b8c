"""The keys of compose files that have no effect here, and those that cannot be had: key → why.

What is in neither list, and is not read, is not known, and refused as well.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from harness.compose.places import At

_ONE_ENGINE = "everything runs on this one engine"
_FAULTS_RESTART = "nodes are started again by faults and by nothing else"
_LOOSER = "containers here are not restricted further than Docker does by itself"
_SHARED = "it would share with this machine what a cluster keeps apart"
_RIGHTS = "it would give the container rights over this machine"
_NAMES = "names mean the links of the cluster, and nothing else"
_MERGE = "`docker compose config` writes one file with everything resolved: give that"

SERVICE_IGNORED: Mapping[str, str] = {
    "annotations": "nothing here reads them",
    "attach": "logs are collected from all nodes",
    "blkio_config": _LOOSER,
    "cap_drop": _LOOSER,
    "cgroup": _LOOSER,
    "container_name": "containers have names of their own; it is a host name here",
    "cpu_count": _LOOSER,
    "cpu_percent": _LOOSER,
    "cpu_period": _LOOSER,
    "cpu_quota": _LOOSER,
    "cpu_rt_period": _LOOSER,
    "cpu_rt_runtime": _LOOSER,
    "cpu_shares": _LOOSER,
    "cpuset": _LOOSER,
    "develop": "files are not watched",
    "domainname": "nothing here depends on it",
    "label_file": "nothing here reads them",
    "labels": "nothing here reads them",
    "logging": "logs are collected from all nodes",
    "mac_address": "nothing here depends on it",
    "mem_reservation": _LOOSER,
    "mem_swappiness": _LOOSER,
    "memswap_limit": "the limit of memory holds for swap as well",
    "oom_kill_disable": "a container that needs too much memory is killed",
    "oom_score_adj": "a container that needs too much memory is killed",
    "platform": "images are of the engine's own platform",
    "pull_policy": "images are pulled or built when they are missing",
    "pull_refresh_after": "images are pulled or built when they are missing",
    "read_only": _LOOSER,
    "restart": _FAULTS_RESTART,
    "security_opt": _LOOSER,
    "stdin_open": "nobody types anything",
    "storage_opt": _LOOSER,
    "tty": "nobody types anything",
}

SERVICE_REFUSED: Mapping[str, str] = {
    "cap_add": _RIGHTS,
    "cgroup_parent": _SHARED,
    "credential_spec": "it is for Windows",
    "device_cgroup_rules": _RIGHTS,
    "devices": _RIGHTS,
    "dns": _NAMES,
    "dns_opt": _NAMES,
    "dns_search": _NAMES,
    "extends": _MERGE,
    "external_links": "the cluster is connected to nothing outside it",
    "gpus": _RIGHTS,
    "group_add": "nodes run with the groups of their user",
    "ipc": _SHARED,
    "isolation": "it is for Windows",
    "models": "only containers are started",
    "network_mode": "every node needs a network of its own, so that its links can be cut",
    "pid": _SHARED,
    "post_start": "nothing is run in containers beside their command",
    "pre_stop": "nothing is run in containers beside their command",
    "privileged": _RIGHTS,
    "provider": "only containers are started",
    "runtime": "containers run on the engine's default runtime",
    "use_api_socket": _RIGHTS,
    "userns_mode": _SHARED,
    "uts": _SHARED,
    "volumes_from": "name the volumes in both services",
}

BUILD_IGNORED: Mapping[str, str] = {
    "cache_from": "the engine's own cache is used",
    "cache_to": "the engine's own cache is used",
    "labels": "nothing here reads them",
    "network": "the engine's default is used",
    "no_cache": "an image is built when it is missing or its folder has changed",
    "platforms": "images are of the engine's own platform",
    "provenance": "nothing is published",
    "pull": "an image is built when it is missing or its folder has changed",
    "sbom": "nothing is published",
    "shm_size": "the engine's default is used",
    "tags": "images have names of their own",
    "ulimits": "the engine's default is used",
}

BUILD_REFUSED: Mapping[str, str] = dict.fromkeys(
    (
        "additional_contexts",
        "dockerfile_inline",
        "entitlements",
        "extra_hosts",
        "isolation",
        "privileged",
        "secrets",
        "ssh",
    ),
    "images are built from one folder and a Dockerfile in it",
)

DEPLOY_IGNORED: Mapping[str, str] = {
    "endpoint_mode": _ONE_ENGINE,
    "labels": "nothing here reads them",
    "placement": _ONE_ENGINE,
    "restart_policy": _FAULTS_RESTART,
    "rollback_config": "nothing is updated while it runs",
    "update_config": "nothing is updated while it runs",
}

NETWORK_IGNORED: Mapping[str, str] = {
    "driver_opts": "all services are on the one network of the cluster",
    "gw_priority": "all services are on the one network of the cluster",
    "interface_name": "all services are on the one network of the cluster",
    "link_local_ips": "all services are on the one network of the cluster",
    "mac_address": "nothing here depends on it",
    "priority": "all services are on the one network of the cluster",
}

NETWORK_REFUSED: Mapping[str, str] = {
    "ipv4_address": "the cluster chooses addresses; let services use names",
    "ipv6_address": "the cluster chooses addresses; let services use names",
}

TOP_REFUSED: Mapping[str, str] = {"include": _MERGE, "models": "only containers are started"}

_NONE: Mapping[str, str] = MappingProxyType({})


def judge(
    entries: Mapping[str, At],
    read: Collection[str],
    ignored: Mapping[str, str] = _NONE,
    refused: Mapping[str, str] = _NONE,
) -> None:
    """Note every key of `entries` that is not `read`. One that is written with nothing, or with
    what would be the case anyway, is not worth a word."""
    for key, entry in entries.items():
        if key in read or entry.value in (None, False, "", [], {}):
            continue
        if key in ignored:
            entry.ignore(ignored[key])
        else:
            entry.refuse(refused.get(key, "this key is not known"))
