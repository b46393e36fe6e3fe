"""How much is taken from outside: what is beyond a limit costs only itself."""

from pydantic import Field

from serving.settings import Settings


class Limits(Settings):
    """Limits of what sources answer. What is refused is said in `/status` and in the log, and counted."""

    servers: int = Field(20_000, ge=1, description="servers held: newcomers beyond them are refused, unless one that "
                         "has been silent for `stale_after` can be forgotten for each; a server takes some 0.4 MiB, so "
                         "that 20,000 need 8 GiB, and a larger fleet is better divided into shards")
    series: int = Field(100_000, ge=1, description="series of one answer that are used, those of known servers and "
                        "entities first, none of other shards counted; five for each of the servers")
    bytes: int = Field(256 << 20, ge=1 << 16, description="bytes of all answers of a cycle together, decompressed, of "
                       "which each query has an equal share; 20,000 servers need a sixth, with the dozen labels of "
                       "Kubernetes two thirds. The same for all queries of a resource of `capacity`, and for 16 pages "
                       "of kind scrape")
    name_length: int = Field(1024, ge=16, description="characters of the name of a server, a profile or an entity; "
                             "four times those of the longest host name")
    labels_length: int = Field(16_384, ge=256, description="characters of all labels of a series together, and bytes "
                               "of a line of a page; 16 labels as long as the longest name")
