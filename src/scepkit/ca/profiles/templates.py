"""Templates: one makes the text of one attribute, or of one name, of what is known of a request.

What comes out is a value: it is put into its place in DER, and nothing in it can add an attribute
or a name. A template computes nothing: it has no calls, no multiplication and a few filters alone,
so that no value of a stranger's makes it take long or much room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias
from urllib.parse import quote

from scepkit.ca.profiles.extras import needed
from scepkit.errors import WELL_FORMED, BadRequest, Malformed, SettingsError
from scepkit.protocol.asn1.strings import Undecodable
from scepkit.protocol.csr import CertificationRequest
from scepkit.protocol.distinguished_name import Name
from scepkit.protocol.general_name import GeneralName

LONGEST = 1024
"""The characters that a template may make."""

FILTERS = ("default", "first", "join", "last", "length", "lower", "replace", "trim", "upper")
"""The filters that a template may use."""

Values: TypeAlias = Mapping[str, Any]
"""Values that a template may name: texts, and maps and lists of texts."""

SERVICE = "service"
"""The value that only a service's answer has."""

VALUES = frozenset({"subject", "subject_all", "names", "challenge", "endpoint", SERVICE})


@dataclass(frozen=True, slots=True)
class Template:
    """A template, compiled.

    Attributes:
        text: as it is written.
        names: the values that it names, of `VALUES`.
    """

    text: str
    names: frozenset[str]
    _compiled: Any

    @property
    def needs_service(self) -> bool:
        """Say whether it names what only a service's answer has."""
        return SERVICE in self.names

    @classmethod
    def of(cls, text: str, kind: str = "") -> Template:
        """Compile a template.

        Args:
            text: as it is written.
            kind: the kind of name that it makes, if it makes one. A value that it puts into a
                `directory` name stays one attribute's, and one in a `uri` one part's.

        Raises:
            SettingsError: it is none, or names what no template has; or the engine is not
                installed.
        """
        jinja2 = needed("jinja2", "a template")
        try:
            tree = _environment(_text).parse(text)
            environment = _environment(_written(kind, tree))
            names = _named(tree)
            unknown = sorted(names - VALUES)
            if unknown:
                raise SettingsError(
                    f"the template {text!r} names {unknown[0]!r}; there are "
                    f"{', '.join(sorted(VALUES))}"
                )
            return cls(text, names, environment.from_string(text))
        except jinja2.TemplateError as error:
            raise SettingsError(f"{text!r} is no template: {error}") from error

    def value(self, values: Values, label: str, rule: str) -> str:
        """Return the text that it makes; "" for nothing.

        Args:
            values: what is known of the request.
            label: what the text is for, as a refusal names it.
            rule: the profile's key that has the template, likewise.

        Raises:
            BadRequest: it needs a value that is not known, or makes more than fits.
        """
        try:
            text = self._compiled.render(values)
        except Exception as error:
            # Whatever it is: of what the template needs, the request has something else.
            kind = type(error).__name__
            raise BadRequest(
                f"{label} cannot be made by its template: {kind}: {str(error)[:200]} ({rule})",
                text=f"{label} cannot be made: a value that it needs is missing or does not fit "
                f"({rule})",
                rule=_key(rule),
            ) from error
        if len(text) > LONGEST:
            what = f"would have {len(text)} characters, at most {LONGEST} fit"
            raise BadRequest(f"{label} {what} ({rule})", rule=_key(rule), length=len(text))
        return str(text)


def _key(rule: str) -> str:
    """Return the key of a rule that is named with its profile."""
    return rule.partition(" ")[0]


def values_of(csr: CertificationRequest, endpoint: str, vouchers: Mapping[str, Any]) -> Values:
    """Return what templates may name of a request.

    Args:
        csr: the request.
        endpoint: the name of the endpoint.
        vouchers: `challenge` with its `label` and `data`, and `service` with the `subject`, `names`
            and `data` of its answer, where there are such.

    Raises:
        BadRequest: the request cannot be read.
    """
    try:
        attributes, names = texts_of(csr.subject, csr.extensions.subject_alternative_names)
    except (Malformed, Undecodable) as error:
        raise BadRequest("a name in the request cannot be read", rule=WELL_FORMED) from error
    return {
        "subject": {label: texts[0] for label, texts in attributes.items()},
        "subject_all": attributes,
        "names": names,
        "challenge": {},
        SERVICE: {"subject": {}, "names": {}, "data": {}},
        "endpoint": endpoint,
        **vouchers,
    }


def texts_of(
    subject: Name, alternatives: Iterable[GeneralName]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the texts of attributes by their labels, and those of names by their kinds.

    Raises:
        Malformed, Undecodable: one cannot be read.
    """
    attributes: dict[str, list[str]] = {}
    names: dict[str, list[str]] = {}
    for attribute in (one for rdn in subject.rdns for one in rdn):
        attributes.setdefault(attribute.label, []).append(attribute.text())
    for name in alternatives:
        if name.kind in ("dns", "email", "uri", "upn"):
            names.setdefault(name.kind, []).append(name.string)
        elif name.kind == "ip":
            names.setdefault("ip", []).append(str(name).removeprefix("ip:"))
    return attributes, names


@cache
def _environment(written: Callable[[Any], str]) -> Any:
    jinja2, sandbox = needed("jinja2", "a template"), needed("jinja2.sandbox", "a template")
    base: Any = sandbox.ImmutableSandboxedEnvironment

    class Environment(base):  # type: ignore[misc]
        """Without calls, attributes and the operators that make much of little."""

        intercepted_binops = frozenset({"*", "**", "%", "//", "/"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            del context, left, right
            raise sandbox.SecurityError(f"a template has no {operator}")

        def is_safe_callable(self, obj: Any) -> bool:
            del obj
            return False

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            del obj, attr, value
            return False

        def getattr(self, obj: Any, attribute: str) -> Any:
            """Return a value of a map by its name; `items` is one, too, and no method."""
            if isinstance(obj, Mapping) and attribute in obj:
                return obj[attribute]
            return self.undefined(obj=obj, name=attribute)

    environment = Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        finalize=written,
    )
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in FILTERS}
    environment.tests = {"defined": environment.tests["defined"]}
    return environment


def _written(kind: str, tree: Any) -> Callable[[Any], str]:
    """Return the way in which a template for a kind of name writes values."""
    if kind == "directory":
        return _of_one_attribute
    return _of_one_part if kind == "uri" and not _is_one_value(tree) else _text


def _is_one_value(tree: Any) -> bool:
    """Say whether a template is a value, and nothing around it."""
    nodes = needed("jinja2.nodes", "a template")
    inside = [one for part in tree.body for one in getattr(part, "nodes", (part,))]
    return len(inside) == 1 and tree.find((nodes.If, nodes.Concat, nodes.Add)) is None


def _of_one_part(value: Any) -> str:
    """Write a value so that nothing in it ends a part of a URI (RFC 3986 section 2.1)."""
    return quote(_text(value), safe="")


def _of_one_attribute(value: Any) -> str:
    """Write a value so that nothing in it ends it: as octets, but for letters and digits."""
    return "".join(
        one if one.isalnum() else "".join(f"\\{octet:02x}" for octet in one.encode())
        for one in _text(value)
    )


def _text(value: Any) -> str:
    """Return a value that is a text; raise for one that is missing, a list or a map."""
    text = str(value)  # what is missing raises here
    if not isinstance(value, str | int):
        raise TypeError(f"a {type(value).__name__} is no text")
    return text


def _named(tree: Any) -> frozenset[str]:
    """Return the values that a template names, and refuse the parts that none needs."""
    nodes = needed("jinja2.nodes", "a template")
    for kind, what in (
        (nodes.For, "loops"),
        (nodes.Call, "calls"),
        (nodes.Macro, "macros"),
        (nodes.CallBlock, "macros"),
        (nodes.Include, "includes"),
        (nodes.Import, "imports"),
        (nodes.FromImport, "imports"),
        (nodes.Extends, "inheritance"),
        (nodes.Block, "blocks"),
        (nodes.FilterBlock, "blocks"),
        (nodes.Mul, "multiplication"),
        (nodes.Pow, "powers"),
        (nodes.Mod, "formatting"),
    ):
        if tree.find(kind) is not None:
            raise SettingsError(f"a template has no {what}")
    for one in tree.find_all(nodes.Filter):
        given = (*one.args, *(pair.value for pair in one.kwargs), one.dyn_args, one.dyn_kwargs)
        # A long value of a request for each of many of its letters would be longer than memory.
        if one.name in ("join", "replace") and not all(
            what is None or isinstance(what, nodes.Const) for what in given
        ):
            raise SettingsError(f"a template {one.name}s with texts that stand in it alone")
    meta = needed("jinja2.meta", "a template")
    return frozenset(meta.find_undeclared_variables(tree))
