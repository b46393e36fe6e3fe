"""Writes and compiles vector code for one batched pass: LLVM, no compiler on the machine that serves.

A lane is one row of the batch; LANES rows go through all operations side by side, so nothing is ever summed across a
vector. What is emitted runs over memory laid out as (..., features, LANES) float32; a vector is one feature of LANES
rows, and addresses count vectors. The constants live in one flat array, addressed in single numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import llvmlite.binding as llvm
from llvmlite import ir

LANES = 16
FLOAT, INT = ir.FloatType(), ir.IntType(64)
VECTOR, MASK = ir.VectorType(FLOAT, LANES), ir.VectorType(ir.IntType(32), LANES)
POINTER = ir.PointerType()
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4  # their sum is ln 2; n x high is exact for every exponent n
_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)  # Cephes expf


class _Splat(ir.Constant):
    """A vector of one number, in LLVM's short form: written out, such constants would be most of the text."""

    def get_reference(self) -> str:
        return f"splat ({self.constant})"

    def __init__(self, kind: ir.VectorType, number: ir.Constant):
        super().__init__(kind, None)
        self.constant = number


class _Zeros(ir.Constant):
    """A shuffle's mask that takes the first element everywhere, in LLVM's short form."""

    def get_reference(self) -> str:
        return "zeroinitializer"


_FIRST = _Zeros(MASK, [0] * LANES)


class Emitter:
    """Builds one function; values are IR values of VECTOR type, indices Python or IR integers."""

    def __init__(self, name: str, arguments: Sequence[ir.Type]):
        self.module = ir.Module(name)
        self.function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), arguments), name)
        self.b = ir.IRBuilder(self.function.append_basic_block())
        self._intrinsics: dict[str, ir.Function] = {}

    # -- memory -------------------------------------------------------------------------------------------------------

    def index(self, value: int | ir.Value) -> ir.Value:
        return ir.Constant(INT, value) if isinstance(value, int) else value

    def plus(self, a: int | ir.Value, b: int | ir.Value) -> int | ir.Value:
        return a + b if isinstance(a, int) and isinstance(b, int) else self.b.add(self.index(a), self.index(b))

    def times(self, a: int | ir.Value, b: int) -> int | ir.Value:
        return a * b if isinstance(a, int) else self.b.mul(a, ir.Constant(INT, b))

    def _at(self, base: ir.Value, number: int | ir.Value) -> ir.Value:
        return self.b.gep(base, [self.index(number)], source_etype=FLOAT)

    def load(self, base: ir.Value, vector: int | ir.Value) -> ir.Value:
        return self.b.load(self._at(base, self.times(vector, LANES)), align=4, typ=VECTOR)

    def store(self, value: ir.Value, base: ir.Value, vector: int | ir.Value) -> None:
        self.b.store(value, self._at(base, self.times(vector, LANES)), align=4)

    def splat(self, base: ir.Value, number: int | ir.Value) -> ir.Value:
        """One number of memory in all lanes."""
        one = self.b.load(self._at(base, number), typ=FLOAT)
        vector = self.b.insert_element(ir.Constant(VECTOR, ir.Undefined), one, ir.Constant(ir.IntType(32), 0))
        return self.b.shuffle_vector(vector, ir.Constant(VECTOR, ir.Undefined), _FIRST)

    def scatter(self, value: ir.Value, base: ir.Value, number: int | ir.Value, stride: int) -> None:
        """Lane i to base[number + i x stride]."""
        for lane in range(LANES):
            one = self.b.extract_element(value, ir.Constant(ir.IntType(32), lane))
            self.b.store(one, self._at(base, self.plus(number, lane * stride)))

    # -- control ------------------------------------------------------------------------------------------------------

    def fold(
        self,
        count: int | ir.Value,
        body: Callable[[ir.Value, list[ir.Value]], Iterable[ir.Value] | None],
        carried: Iterable[ir.Value] = (),
        start: int | ir.Value = 0,
    ) -> list[ir.Value]:
        """Runs ``body(i, carried) -> carried`` for start <= i < count; the last carried values."""
        b, carried, before = self.b, list(carried), self.b.block
        check, inside, after = (self.function.append_basic_block() for _ in range(3))
        b.branch(check)
        b.position_at_end(check)
        i = b.phi(INT)
        i.add_incoming(self.index(start), before)
        phis = []
        for value in carried:
            phi = b.phi(value.type)
            phi.add_incoming(value, before)
            phis.append(phi)
        b.cbranch(b.icmp_signed("<", i, self.index(count)), inside, after)
        b.position_at_end(inside)
        new = list(body(i, list(phis)) or ())
        for phi, value in zip(phis, new, strict=True):
            phi.add_incoming(value, b.block)
        i.add_incoming(b.add(i, ir.Constant(INT, 1)), b.block)
        b.branch(check)
        b.position_at_end(after)
        return phis

    # -- arithmetic ---------------------------------------------------------------------------------------------------

    def const(self, value: float) -> ir.Constant:
        return _Splat(VECTOR, ir.Constant(FLOAT, value))

    def _call(self, name: str, *values: ir.Value) -> ir.Value:
        if name not in self._intrinsics:
            kind = ir.FunctionType(VECTOR, [VECTOR] * len(values))
            self._intrinsics[name] = ir.Function(self.module, kind, f"llvm.{name}.v{LANES}f32")
        return self.b.call(self._intrinsics[name], values)

    def add(self, *values: ir.Value) -> ir.Value:
        total = values[0]
        for value in values[1:]:
            total = self.b.fadd(total, value)
        return total

    def mul(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.b.fmul(a, b)

    def sub(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.b.fsub(a, b)

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        return self._call("fma", a, b, c)

    def least(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The smaller one; NaN where a is."""
        return self.b.select(self.b.fcmp_unordered("<", a, b), a, b)

    def most(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The larger one; NaN where a is."""
        return self.b.select(self.b.fcmp_unordered(">", a, b), a, b)

    def ordered(self, a: ir.Value, b: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Smaller and larger; with NaN among them both are kept."""
        swap = self.b.fcmp_ordered(">", a, b)
        return self.b.select(swap, b, a), self.b.select(swap, a, b)

    def inverse(self, a: ir.Value) -> ir.Value:
        return self.b.fdiv(self.const(1.0), a)

    def root(self, a: ir.Value) -> ir.Value:
        return self._call("sqrt", a)

    def exp(self, x: ir.Value) -> ir.Value:
        """e^x within 2 ulp; x is held inside +-87, NaN stays."""
        b, x = self.b, self.least(self.most(x, self.const(-87.0)), self.const(87.0))
        n = self._call("rint", self.mul(x, self.const(1 / math.log(2))))
        r = self.fma(n, self.const(-_LN2_HIGH), x)
        r = self.fma(n, self.const(-_LN2_LOW), r)
        p = self.const(_EXP[0])
        for factor in _EXP[1:]:
            p = self.fma(p, r, self.const(factor))
        p = self.fma(self.mul(r, r), p, self.add(r, self.const(1.0)))
        bias, shift = (_Splat(MASK, ir.Constant(ir.IntType(32), n)) for n in (127, 23))
        bits = b.shl(b.add(b.fptosi(n, MASK), bias), shift)
        return self.mul(p, b.bitcast(bits, VECTOR))

    def sigmoid(self, x: ir.Value) -> ir.Value:
        return self.inverse(self.add(self.const(1.0), self.exp(self.b.fneg(x))))

    def tanh(self, x: ir.Value) -> ir.Value:
        """1 - 2 / (1 + e^2x)."""
        return self.fma(self.const(-2.0), self.inverse(self.add(self.const(1.0), self.exp(self.add(x, x)))), self.const(1.0))

    def elu(self, x: ir.Value) -> ir.Value:
        low = self.sub(self.exp(self.least(x, self.const(0.0))), self.const(1.0))
        return self.b.select(self.b.fcmp_ordered(">", x, self.const(0.0)), x, low)


class Compiled:
    """Machine code of an emitter's function; ``address`` is where it stands, as long as this object lives."""

    def __init__(self, emitter: Emitter):
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2, jit=True
        )
        module = llvm.parse_assembly(str(emitter.module))
        module.triple, module.data_layout = machine.triple, str(machine.target_data)
        module.verify()  # no optimisation of LLVM's own: what is emitted is already as it shall run, and it costs a second
        self._engine = llvm.create_mcjit_compiler(module, machine)
        self._engine.finalize_object()
        self.address = self._engine.get_function_address(emitter.function.name)
