"""Emits and compiles vector code for one batched pass, with LLVM; no compiler is needed where the model is served.

A lane is one row of the batch. LANES rows pass all operations side by side, so no sum runs across a vector. Memory is
laid out as (..., features, LANES) float32: a vector is one feature of LANES rows, and addresses count vectors.
Constants are in one flat array, where addresses count single numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import llvmlite.binding as llvm
from llvmlite import ir

LANES = 16
FLOAT, INT = ir.FloatType(), ir.IntType(64)
VECTOR, MASK = ir.VectorType(FLOAT, LANES), ir.VectorType(ir.IntType(32), LANES)
POINTER = ir.PointerType()
Index: TypeAlias = int | ir.Value  # known when code is emitted, or only when it runs
Values: TypeAlias = list[ir.Value]
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4  # their sum is ln 2; n x high is exact for every exponent n
_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)  # Cephes expf
_FIRST = ir.Constant(MASK, [0] * LANES)  # a shuffle's mask: the first element in all lanes


def _splat(kind: ir.VectorType, number: ir.Constant) -> ir.Constant:
    """A vector of one number in LLVM's short form; written out, such constants would be most of the text."""
    vector = ir.FormattedConstant(kind, "")
    vector.constant = f"splat ({number})"
    return vector


class Emitter:
    """Builds one function; values are IR values of VECTOR type, indices Python or IR integers."""

    def __init__(self, name: str, arguments: Sequence[ir.Type]):
        self.module = ir.Module(name)
        self.function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), arguments), name)
        self.b = ir.IRBuilder(self.function.append_basic_block())
        self._intrinsics: dict[str, ir.Function] = {}

    # -- memory -------------------------------------------------------------------------------------------------------

    def index(self, value: Index) -> ir.Value:
        return ir.Constant(INT, value) if isinstance(value, int) else value

    def plus(self, a: Index, b: Index) -> Index:
        return a + b if isinstance(a, int) and isinstance(b, int) else self.b.add(self.index(a), self.index(b))

    def times(self, a: Index, b: int) -> Index:
        return a * b if isinstance(a, int) else self.b.mul(a, ir.Constant(INT, b))

    def _at(self, base: ir.Value, number: Index) -> ir.Value:
        return self.b.gep(base, [self.index(number)], source_etype=FLOAT)

    def load(self, base: ir.Value, vector: Index) -> ir.Value:
        return self.b.load(self._at(base, self.times(vector, LANES)), align=4, typ=VECTOR)

    def store(self, value: ir.Value, base: ir.Value, vector: Index) -> None:
        self.b.store(value, self._at(base, self.times(vector, LANES)), align=4)

    def splat(self, base: ir.Value, number: Index) -> ir.Value:
        """One number of memory in all lanes."""
        one = self.b.load(self._at(base, number), typ=FLOAT)
        vector = self.b.insert_element(ir.Constant(VECTOR, ir.Undefined), one, ir.Constant(ir.IntType(32), 0))
        return self.b.shuffle_vector(vector, ir.Constant(VECTOR, ir.Undefined), _FIRST)

    def scatter(self, value: ir.Value, base: ir.Value, number: Index, stride: int) -> None:
        """Stores lane i at base[number + i x stride]."""
        for lane in range(LANES):
            one = self.b.extract_element(value, ir.Constant(ir.IntType(32), lane))
            self.b.store(one, self._at(base, self.plus(number, lane * stride)))

    # -- control ------------------------------------------------------------------------------------------------------

    def fold(
        self,
        count: Index,
        body: Callable[[ir.Value, Values], Iterable[ir.Value] | None],
        carried: Iterable[ir.Value] = (),
        start: Index = 0,
    ) -> Values:
        """Emits a loop of ``body(i, carried) -> carried`` for start <= i < count; returns the last carried values."""
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
        return _splat(VECTOR, ir.Constant(FLOAT, value))

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
        """The smaller of both; NaN where a is NaN."""
        return self.b.select(self.b.fcmp_unordered("<", a, b), a, b)

    def most(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The larger of both; NaN where a is NaN."""
        return self.b.select(self.b.fcmp_unordered(">", a, b), a, b)

    def ordered(self, a: ir.Value, b: ir.Value) -> tuple[ir.Value, ir.Value]:
        """The smaller and the larger; unchanged if one is NaN."""
        swap = self.b.fcmp_ordered(">", a, b)
        return self.b.select(swap, b, a), self.b.select(swap, a, b)

    def inverse(self, a: ir.Value) -> ir.Value:
        return self.b.fdiv(self.const(1.0), a)

    def root(self, a: ir.Value) -> ir.Value:
        return self._call("sqrt", a)

    def exp(self, x: ir.Value) -> ir.Value:
        """e^x within 2 ulp; x is clipped to +-87, NaN stays."""
        b, x = self.b, self.least(self.most(x, self.const(-87.0)), self.const(87.0))
        n = self._call("rint", self.mul(x, self.const(1 / math.log(2))))
        r = self.fma(n, self.const(-_LN2_HIGH), x)
        r = self.fma(n, self.const(-_LN2_LOW), r)
        p = self.const(_EXP[0])
        for factor in _EXP[1:]:
            p = self.fma(p, r, self.const(factor))
        p = self.fma(self.mul(r, r), p, self.add(r, self.const(1.0)))
        bias, shift = (_splat(MASK, ir.Constant(ir.IntType(32), n)) for n in (127, 23))
        bits = b.shl(b.add(b.fptosi(n, MASK), bias), shift)
        return self.mul(p, b.bitcast(bits, VECTOR))

    def sigmoid(self, x: ir.Value) -> ir.Value:
        return self.inverse(self.add(self.const(1.0), self.exp(self.b.fneg(x))))

    def tanh(self, x: ir.Value) -> ir.Value:
        """1 - 2 / (1 + e^2x)."""
        one = self.const(1.0)
        return self.fma(self.const(-2.0), self.inverse(self.add(one, self.exp(self.add(x, x)))), one)

    def elu(self, x: ir.Value) -> ir.Value:
        low = self.sub(self.exp(self.least(x, self.const(0.0))), self.const(1.0))
        return self.b.select(self.b.fcmp_ordered(">", x, self.const(0.0)), x, low)


class Compiled:
    """Machine code of an emitter's function; ``address`` is valid as long as this object lives.

    Only the code is kept: LLVM's representation of the function takes 20 times its memory.
    """

    def __init__(self, emitter: Emitter):
        module, machine = _lowered(emitter)
        code = llvm.ObjectFileRef.from_data(machine.emit_object(module))
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly("", llvm.create_context()), machine)
        self._engine.add_object_file(code)
        self._engine.finalize_object()
        self.address = self._engine.get_function_address(emitter.function.name)


def assembly(emitter: Emitter) -> str:
    """The text of the machine code, for people."""
    module, machine = _lowered(emitter)
    return str(machine.emit_assembly(module))


def _lowered(emitter: Emitter) -> tuple[llvm.ModuleRef, llvm.TargetMachine]:
    """The verified module, without LLVM's optimisation passes, which would take a second and gain nothing here."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2, jit=True
    )
    module = llvm.parse_assembly(str(emitter.module), llvm.create_context())  # the global one keeps what it was given
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    module.verify()
    return module, machine
