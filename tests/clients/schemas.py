"""Random JSON schemas from a seed: of every keyword that docs/STRUCTURED_OUTPUT.md calls working, each bounded.

Bounded means that every text which a schema accepts is short, whatever a model prefers: strings have a greatest length,
arrays a greatest count, numbers a last decimal, and nothing is recursive. So a text that was cut shows a fault.

`Generator(seed, extremes=True)` makes other schemas too: numbers between bounds of every kind and size, which may have
any number of digits, and texts with control characters. A text that was cut then shows nothing.
"""

import random

NAMES = ["id", "name", "with space", 'quo"te', "back\\slash", "größe", "日本", "$dollar", "a/b", "x.y", "last_updated_at", "n", "", "é"]
CONTROL = ["e\u0001f", "\u0000", "\u001f\u007f", "tab\there", "\r\n", "\u0085\u2028", "\b\f"]
CONTROL_PATTERNS = ["^a\u0001{1,2}b$", "^[\u0000-\u001f]{1,3}$", "^(?:x|\\x07|\\t)y$", "^\\u0002[a-c]{2}$"]
WORDS = ["red", "green", "blue", "", "naïve", "two words", 'say "hi"', "line\nbreak", "日本語", "🙂", "\\", "null", "42"]
# Each matches texts of at most 20 characters.
PATTERNS = ["^[a-z]{2,6}$", "^[A-Z]{3}-[0-9]{2,4}$", "^(?:yes|no|maybe)$", "^#[0-9a-f]{6}$", "^v[0-9]{1,2}(\\.[0-9]{1,2}){0,2}$",
            "^[^\"\\\\]{1,8}$", "^(?:GET|POST) /[a-z]{1,9}$", "^\\([0-9]{3}\\) [0-9]{3}$", "^[äöüß]{2,5}$", "^.{3,9}$"]
# Formats whose texts have no greatest length get one.
FORMATS = [("date", {}), ("date-time", {"maxLength": 30}), ("time", {"maxLength": 20}), ("duration", {"maxLength": 16}), ("email", {"maxLength": 30}),
           ("hostname", {"maxLength": 30}), ("ipv4", {}), ("ipv6", {}), ("uri", {"maxLength": 40}), ("uuid", {})]
DEEPEST = 3


class Generator:
    """One schema per call, the same ones for the same seed."""

    def __init__(self, seed, extremes=False):
        self.random = random.Random(seed)
        self.extremes = extremes

    def schema(self):
        """An object schema of the size that people write, half of the times with definitions that it refers to."""
        self.definitions = {}
        if self.random.random() < 0.5:
            # Filled one after the other and visible to the later ones only: references, but no recursion.
            for name in ("first", "second"):
                self.definitions |= {name: self.any(2)}
        schema = self.object(0)
        if self.definitions:
            schema["$defs"] = self.definitions
        return schema

    def any(self, depth):
        leaves = [self.string, self.string, self.formatted, self.integer, self.number, self.enum, self.const, self.plain]
        if self.extremes:
            leaves += [self.bounded_number] * 3 + [self.control]
        if self.definitions:
            leaves += [self.reference] * 2
        branches = [self.object, self.array, self.tuple, self.map, self.any_of, self.one_of, self.all_of]
        if depth < DEEPEST and self.random.random() < 0.5:
            return self.random.choice(branches)(depth + 1)
        return self.random.choice(leaves)()

    # ---- Leaves ----

    def string(self):
        if self.random.random() < 0.4:
            return {"type": "string", "pattern": self.random.choice(PATTERNS)}
        shortest = self.random.randint(0, 4)
        return {"type": "string", "minLength": shortest, "maxLength": shortest + self.random.randint(0, 12)}

    def formatted(self):
        name, bounds = self.random.choice(FORMATS)
        return {"type": "string", "format": name} | bounds

    def integer(self):
        low = self.random.randint(-10**self.random.randint(0, 9), 10**self.random.randint(0, 9))
        high = low + self.random.randint(4, 10 ** self.random.randint(1, 6))
        kinds = [{"minimum": low, "maximum": high}, {"exclusiveMinimum": low, "exclusiveMaximum": high}, {"minimum": low, "exclusiveMaximum": high}]
        if high - low > 20:
            kinds.append({"minimum": low, "maximum": high, "multipleOf": self.random.randint(2, 9)})
        return {"type": "integer"} | self.random.choice(kinds)

    def number(self):
        low = round(self.random.uniform(-1000, 1000), self.random.randint(0, 2))
        high = round(low + self.random.uniform(1, 1000), 2)
        limits = self.random.choice([("minimum", "maximum"), ("exclusiveMinimum", "exclusiveMaximum")])
        return {"type": "number", limits[0]: low, limits[1]: high, "multipleOf": self.random.choice([0.5, 0.25, 0.1, 0.01])}

    def bounded_number(self):
        """A number or an integer with one or two bounds, open or closed, near or far, of either sign, in any of JSON's spellings."""
        low, high = sorted(self.bound() for _ in range(2))
        if low == high or self.random.random() < 0.3:
            high = float(f"{low + self.random.choice([1e-9, 0.001, 0.1, 0.5, 1, 2.5, 1000]):.12g}")
        lower = {self.random.choice(["minimum", "exclusiveMinimum"]): low}
        upper = {self.random.choice(["maximum", "exclusiveMaximum"]): high}
        bounds = self.random.choice([lower | upper, lower | upper, lower, upper])
        return {"type": self.random.choice(["number", "number", "integer", ["number", "null"]])} | bounds

    def bound(self):
        size = self.random.choice([0, 1e-15, 1e-7, 0.1, 0.5, 1, 1.5, 9.99, 10, 10.5, 99, 1e3, 65535, 1e9, 2.5e15, 2**53 - 1])
        return self.random.choice([1, -1]) * self.random.choice([size, round(self.random.uniform(0, 20), self.random.randint(0, 6))])

    def control(self):
        """Texts with control characters: one, one of several, or some that a pattern demands."""
        text = self.random.choice(CONTROL)
        return self.random.choice([
            {"const": text},
            {"const": {"k": [text]}},
            {"enum": self.random.sample(CONTROL + WORDS, 4)},
            {"type": "string", "pattern": self.random.choice(CONTROL_PATTERNS)},
        ])

    def enum(self):
        values = self.random.sample(WORDS, 3) + [self.random.randint(-99, 99), self.random.choice([True, False]), None, [1, "a"], {"k": "v"}]
        return {"enum": self.random.sample(values, self.random.randint(1, len(values)))}

    def const(self):
        return {"const": self.random.choice([*WORDS, 0, -7, 2.5, True, None, [], {}, [1, [2]], {"a": {"b": None}}])}

    def plain(self):
        return {"type": self.random.choice(["boolean", "null", ["boolean", "null"]])}

    def reference(self):
        return {"$ref": f"#/$defs/{self.random.choice(list(self.definitions))}"}

    # ---- Branches ----

    def names(self, least, most):
        return self.random.sample(NAMES, self.random.randint(least, most))

    def object(self, depth):
        names = self.names(1, 4 if depth < 2 else 2)
        required = [name for name in names if self.random.random() < 0.6]
        schema = {"type": "object", "properties": {name: self.any(depth) for name in names}, "additionalProperties": False}
        if required:
            schema["required"] = required
        elif self.random.random() < 0.5:
            schema["minProperties"] = 1
        if self.random.random() < 0.3:
            schema |= {"title": "Example", "description": "one of many", "$comment": "says nothing"}
        return schema

    def map(self, depth):
        """Names by a pattern, no more than `maxProperties`."""
        return {"type": "object", "patternProperties": {"^k_[a-z]{1,4}$": self.any(depth)}, "additionalProperties": False,
                "minProperties": self.random.randint(0, 1), "maxProperties": self.random.randint(1, 3)}

    def array(self, depth):
        least = self.random.randint(0, 2)
        return {"type": "array", "items": self.any(depth), "minItems": least, "maxItems": least + self.random.randint(0, 2)}

    def tuple(self, depth):
        items = [self.any(depth) for _ in range(self.random.randint(1, 3))]
        schema = {"type": "array", "prefixItems": items, "minItems": self.random.randint(0, len(items)), "items": False}
        if self.random.random() < 0.4:
            schema |= {"items": self.any(DEEPEST), "maxItems": len(items) + 2}
        return schema

    def any_of(self, depth):
        return {"anyOf": [self.any(depth) for _ in range(self.random.randint(2, 3))]}

    def one_of(self, depth):
        kinds = self.random.sample(["circle", "square", "line"], 2)
        alternatives = [
            {"type": "object", "properties": {"kind": {"const": kind}, f"of_{kind}": self.any(depth)}, "required": ["kind", f"of_{kind}"],
             "additionalProperties": False}
            for kind in kinds
        ]
        return {"oneOf": alternatives}

    def all_of(self, depth):
        low = self.random.randint(-50, 50)
        return {"allOf": [{"type": "integer", "minimum": low}, {"maximum": low + self.random.randint(5, 500)}]}
