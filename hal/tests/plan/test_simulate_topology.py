"""Topologies and their files."""

from pathlib import Path

import pytest

from hal.interface.errors import ConfigError
from hal.plan.simulate import Topology, load_topology

EXAMPLES = Path(__file__).parents[3] / "examples" / "topologies"

NODE = """\
topology: node
ranks: 4
link: {bandwidth: 100GB/s, latency: 2us}
"""

TREE = """\
topology: fat_tree
nodes: 4
ranks_per_node: 4
adapters_per_node: 2
link: {bandwidth: 100GB/s, latency: 1us}
network: {bandwidth: 200Gbit/s, latency: 2us}
nodes_per_leaf: 2
spines: 2
uplink: {bandwidth: 50GB/s, latency: 3us}
rank: {copy: 10GB/s, launch: 5us}
"""

GRAPH = """\
topology: graph
ranks: 3
switches: [middle]
link: {bandwidth: 1GB/s}
links:
  - {between: [0, middle], latency: 5us}
  - {between: [1, middle], bandwidth: 8Gbit/s}
  - {between: [1, 2], duplex: half}
"""


@pytest.fixture
def topology(tmp_path):
    def load(text):
        file = tmp_path / "t.yaml"
        file.write_text(text)
        return load_topology(file)

    return load


def names(topology, source, target):
    return [topology.resources[link].name for link in topology.route(source, target).links]


def test_one_node(topology):
    made = topology(NODE)
    assert names(made, 1, 3) == ["rank 1 -> switch", "switch -> rank 3"]
    assert made.route(1, 3).latency == pytest.approx(4e-6)
    assert {r.capacity for r in made.resources} == {100e9}
    mesh = topology(NODE + "wiring: mesh\n")
    assert names(mesh, 1, 3) == ["rank 1 -> rank 3"]
    ring = topology(NODE + "wiring: ring\n")
    assert names(ring, 1, 3) in (["rank 1 -> rank 2", "rank 2 -> rank 3"], ["rank 1 -> rank 0", "rank 0 -> rank 3"])
    assert names(ring, 3, 0) == ["rank 3 -> rank 0"]


def test_fat_tree(topology):
    made = topology(TREE)
    assert made.size == 16
    assert (made.compute.copy, made.compute.launch) == (10e9, 5e-6)
    assert names(made, 0, 3) == ["rank 0 -> switch of node 0", "switch of node 0 -> rank 3"]
    # ranks 4 and 5 share an adapter; the way between them is inside the node all the same
    assert names(made, 4, 5) == ["rank 4 -> switch of node 1", "switch of node 1 -> rank 5"]
    assert names(made, 0, 4) == ["adapter 0 of node 0 -> leaf 0", "leaf 0 -> adapter 0 of node 1"]
    assert names(made, 0, 4) == names(made, 1, 5)
    over_the_top = names(made, 0, 8)
    assert over_the_top[1] in ("leaf 0 -> spine 0", "leaf 0 -> spine 1")
    assert made.route(0, 8).latency == pytest.approx(10e-6)
    capacities = {r.name: r.capacity for r in made.resources}
    assert capacities["adapter 0 of node 0 -> leaf 0"] == 25e9


def test_the_destination_chooses_among_equal_routes(topology):
    made = topology(TREE)
    assert {names(made, source, 8)[1] for source in range(8)} == {names(made, 0, 8)[1]}
    assert {names(made, 0, target)[1] for target in range(8, 16)} == {"leaf 0 -> spine 0", "leaf 0 -> spine 1"}


def test_graph(topology):
    made = topology(GRAPH)
    assert names(made, 0, 1) == ["rank 0 -> middle", "middle -> rank 1"]
    assert made.route(1, 2).links == made.route(2, 1).links
    with pytest.raises(ConfigError, match="no way leads from rank 0 to rank 2"):
        made.route(0, 2)
    assert names(topology(GRAPH + "forward: true\n"), 0, 2)[-1] == "rank 1 -> rank 2"


def test_routes_are_found_once():
    made = Topology(2)
    made.connect(0, 1, 1.0, 0.0)
    assert made.route(0, 1) is made.route(0, 1)


@pytest.mark.parametrize(("name", "size"), [("one-node", 8), ("fat-tree", 1024), ("custom", 4)])
def test_examples(name, size):
    made = load_topology(EXAMPLES / f"{name}.yaml")
    assert made.size == size
    assert made.route(0, size - 1).links


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "t.yaml:1: holds an empty value: allowed is a mapping"),
        ("[1]", "t.yaml:1: holds a list"),
        ("ranks: 3", "t.yaml:1: lacks the key topology: allowed are node, fat_tree, graph"),
        ("topology: nodes", "t.yaml:1: topology: unknown topology 'nodes': .* did you mean 'node'"),
        ("topology: [node]", "t.yaml:1: topology: unknown topology 'a list'"),
        (NODE + "rank: 3", r"t.yaml:4: rank: 3 is not a mapping: allowed are the keys copy, reduce"),
        (NODE + "rank: {copi: 3GB/s}", r"t.yaml:4: unknown key in rank 'copi': .* did you mean 'copy'"),
        (NODE + "ranks: 5", "t.yaml:4: ranks is given twice, first in line 2"),
        (NODE + "wirin: mesh", "t.yaml:4: unknown key 'wirin': .* did you mean 'wiring'"),
        (NODE + "wiring: mash", "t.yaml:4: wiring: 'mash' is not allowed: allowed are switch, mesh, ring; .*'mesh'"),
        (NODE.replace("ranks: 4", "ranks: 0"), "t.yaml:2: ranks: 0 is not a number allowed here"),
        (NODE.replace("ranks: 4", "ranks: 70000"), "t.yaml:2: ranks: 70000 are too many: allowed are at most 65536"),
        (NODE.replace("ranks: 4", "ranks: 4000") + "wiring: mesh", "t.yaml:4: wiring: a mesh of 4000 ranks"),
        (NODE.replace("100GB/s", "100GB"), "t.yaml:3: link.bandwidth: '100GB' is not a bandwidth: .*50GB/s"),
        (NODE.replace("100GB/s", "0"), "t.yaml:3: link.bandwidth: 0 is not a bandwidth"),
        (NODE.replace("2us", "-2us"), "t.yaml:3: link.latency: '-2us' is not a latency: .*300ns"),
        (NODE.replace("bandwidth", "bandwith"), "(?s)unknown key in link 'bandwith'.*link: lacks the key bandwidth"),
        ("topology: node\nranks: 4\n", "t.yaml:1: lacks the key link: of each rank"),
        (TREE.replace("adapters_per_node: 2", "adapters_per_node: 3"), "t.yaml:4: .*3 adapters cannot be shared"),
        (TREE.replace("uplink:", "#"), "t.yaml:1: lacks the key uplink: 2 leaf switches"),
        (TREE.replace("nodes: 4", "nodes: 99999"), "t.yaml:2: nodes: 399996 ranks in all"),
        (TREE + "wiring: ring", "t.yaml:11: wiring: a ring inside nodes"),
        (
            GRAPH.replace("[1, 2]", "[1, 3]"),
            r"t.yaml:8: links\[2\].between\[1\]: there is no rank 3: allowed are 0 to 2",
        ),
        (GRAPH.replace("[0, middle]", "[0, midle]"), r"t.yaml:6: links\[0\].*unknown switch 'midle'.*mean 'middle'"),
        (GRAPH.replace("[0, middle]", "[0, 0]"), r"t.yaml:6: links\[0\].between: connects a vertex with itself"),
        (GRAPH.replace("[0, middle]", "[0]"), r"t.yaml:6: links\[0\].between: a list is not two vertices"),
        (GRAPH.replace("[0, middle]", "[0, 1.5]"), r"t.yaml:6: links\[0\].between\[1\]: 1.5 is not a vertex"),
        (GRAPH.replace("link: {bandwidth: 1GB/s}", ""), r"t.yaml:6: links\[0\]: lacks the key bandwidth"),
        (GRAPH.replace("[middle]", "[middle, middle]"), r"t.yaml:3: switches\[1\]: 'middle' is named twice"),
        (GRAPH + "forward: perhaps", "t.yaml:9: forward: 'perhaps' is not true or false"),
        (GRAPH.replace("links:", "links: 3\nlinkz:"), "(?s)t.yaml:5: links: 3 is not a list.*unknown key 'linkz'"),
        ("a: *b", "t.yaml:1: not usable YAML: aliases"),
        ("topology: !!python/none", "t.yaml:1: not usable YAML: tags"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_once_and_in_full(topology, text, expected):
    with pytest.raises(ConfigError, match=expected):
        topology(text)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="there is no such file"):
        load_topology(tmp_path / "none.yaml")
