"""Hosts that are network namespaces of this machine, on a switch that is one, too. Nothing leaves them. Needs root."""

import subprocess

SUBNET = "10.213.7"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


class Network:
    """Exists while it is a context. The same prefix and hosts name the same network."""

    def __init__(self, prefix: str, hosts: list[str]) -> None:
        self.prefix, self.hosts = prefix, hosts

    def address(self, host: str) -> str:
        return f"{SUBNET}.{self.hosts.index(host) + 1}"

    def namespace(self, host: str) -> str:
        return f"{self.prefix}-{host}"

    def port(self, host: str) -> str:
        """The switch's end of the cable to a host."""
        return f"port{self.hosts.index(host)}"

    def inside(self, host: str) -> list[str]:
        """What a command starts with that runs on a host."""
        return ["ip", "netns", "exec", self.namespace(host)]

    def __enter__(self) -> "Network":
        switch = self.namespace("switch")
        try:
            ip("netns", "add", switch)
            ip("-n", switch, "link", "add", "bridge", "type", "bridge")
            ip("-n", switch, "link", "set", "bridge", "up")
            for host in self.hosts:
                name, port = self.namespace(host), self.port(host)
                ip("netns", "add", name)
                ip("-n", name, "link", "set", "lo", "up")
                ip("-n", switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
                ip("-n", switch, "link", "set", port, "master", "bridge")
                ip("-n", switch, "link", "set", port, "up")
                ip("-n", name, "address", "add", f"{self.address(host)}/24", "dev", "eth0")
                ip("-n", name, "link", "set", "eth0", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for host in [*self.hosts, "switch"]:
            subprocess.run(["ip", "netns", "delete", self.namespace(host)], stderr=subprocess.DEVNULL)

    def cut_off(self, host: str) -> None:
        ip("-n", self.namespace("switch"), "link", "set", self.port(host), "down")

    def join(self, host: str) -> None:
        ip("-n", self.namespace("switch"), "link", "set", self.port(host), "up")
