"""The addresses of objects in an object store. They never hold credentials, so that one can be shown and written down."""

import re
from typing import Self

from anomaly.errors import ConfigError

_MAGIC = re.compile(r"[*?\[]")
# For each scheme: what names the credentials, and what else says where the store is.
_SETUP = {
    "s3": ("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE", "AWS_REGION and AWS_ENDPOINT_URL"),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUD_STORAGE_EMULATOR_ENDPOINT"),
    "abfs": ("AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET", "the name of the account"),
    "abfss": ("AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET", "the name of the account"),
}
_SCHEMES = re.compile(f"({'|'.join(_SETUP)})://(.*)", re.DOTALL | re.IGNORECASE)


class ObjectUri(str):
    """The address of an object or of a prefix ("folder") of objects; having one is the permission to use the network.

    It is text as any path, so it can be sent to other processes, and goes wherever a path does.
    """

    __slots__ = ()

    def __str__(self) -> str:
        """Return itself: a copy as plain text would be the path of a file."""
        return self

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `s3://BUCKET/KEY`, `gs://BUCKET/KEY`, `abfs(s)://CONTAINER@ACCOUNT.dfs.core.windows.net/KEY`; a key stands as it is.

        Args:
            text: see `is_address`.

        Raises:
            ConfigError: if it names no bucket, holds a user, a password, parameters or a part "." or "..", or cannot be printed.
        """
        parts = _SCHEMES.fullmatch(text)
        scheme, rest = (parts[1].lower(), parts[2]) if parts else ("", "")
        root, _, key = rest.partition("/")
        account = root.partition("@")[2] if scheme.startswith("abfs") else ""
        bare = not set("@:?") & set(account or root) and not re.search(r"\?\w+=", key)
        plain = {".", ".."}.isdisjoint(rest.split("/"))  # libraries below would follow them, out of the bucket
        if not (parts and root and bare and plain and ":" not in root and text.isprintable()):
            raise ConfigError(
                "An address in an object store must be s3://BUCKET/KEY, gs://BUCKET/KEY or abfs://CONTAINER@ACCOUNT/KEY, without "
                f"user, password, parameters and dots for parts. Received: {scheme}://... in another form. Credentials and "
                f"endpoint come from the environment: {'; '.join(_SETUP.get(scheme, _SETUP['s3']))}."
            )
        return cls(f"{scheme}://{root}/{key}".rstrip("/"))

    @property
    def root(self) -> str:
        """Scheme and bucket."""
        return "/".join(self.split("/", 3)[:3])

    @property
    def key(self) -> str:
        """What stands behind the bucket; empty for all of it."""
        return self[len(self.root) + 1 :]

    @property
    def name(self) -> str:
        """The last part."""
        return self.rsplit("/", 1)[-1]

    def below(self, name: str) -> "ObjectUri":
        """Return the address of a name in this prefix."""
        return ObjectUri(f"{self}/{name}")

    @property
    def credentials(self) -> str:
        """The environment variables that say who asks."""
        return _SETUP[self.split(":")[0]][0]

    @property
    def endpoint(self) -> str:
        """What says where the store is, beside the address."""
        return _SETUP[self.split(":")[0]][1]


def is_address(text: str) -> bool:
    """Tell whether text has the form of an address, good or not."""
    return bool(_SCHEMES.fullmatch(text))


def has_magic(name: str) -> bool:
    """Tell whether the name of an object, or a part of it, is a pattern, unless there is an object with that very name."""
    return bool(_MAGIC.search(name))
