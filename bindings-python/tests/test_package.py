"""The package itself: names, errors, stubs. No orchestrator is needed."""

from __future__ import annotations

import ast
import enum
import pathlib
import pickle
import unittest
from typing import Dict

import copo
import copo._copo
import copo._error


class Package(unittest.TestCase):
    def test_every_error_is_a_copo_error_and_keeps_its_code(self) -> None:
        self.assertTrue(issubclass(copo.ErrorCode, enum.IntEnum))
        for code in copo.ErrorCode:
            error = copo._error.of(code, "cannot do it: because")
            self.assertIsInstance(error, copo.Error)
            again = pickle.loads(pickle.dumps(error))
            self.assertEqual((type(again), again.code, str(again)), (type(error), code, "cannot do it: because"))

    def test_python_code_that_knows_nothing_of_copo_can_handle_them(self) -> None:
        self.assertTrue(issubclass(copo.TimedOutError, TimeoutError))
        self.assertTrue(issubclass(copo.NoOrchestratorError, ConnectionError))
        self.assertTrue(issubclass(copo.WouldBlockError, BlockingIOError))
        self.assertTrue(issubclass(copo.InvalidKeyError, ValueError))
        self.assertTrue(issubclass(copo.ForbiddenError, PermissionError))

    def test_all_that_is_public_is_there(self) -> None:
        for name in copo.__all__:
            self.assertTrue(hasattr(copo, name), name)
        with self.assertRaises(TypeError):
            copo.Client()  # connect() makes one.

    def test_the_stub_says_what_the_module_has(self) -> None:
        stub = ast.parse(pathlib.Path(copo._copo.__file__).with_name("_copo.pyi").read_text())
        classes: Dict[str, ast.ClassDef] = {node.name: node for node in stub.body if isinstance(node, ast.ClassDef)}
        codes = {node.targets[0].id: ast.literal_eval(node.value) for node in classes["ErrorCode"].body}  # type: ignore[attr-defined]
        self.assertEqual(codes, {code.name: code.value for code in copo.ErrorCode})
        for name in ("Client", "Subscription", "Record", "Report", "Facts", "Gap"):
            real = {member for member in vars(getattr(copo, name)) if not member.startswith("__")}
            said = {node.name for node in classes[name].body if isinstance(node, ast.FunctionDef)}
            self.assertEqual({member for member in said if not member.startswith("__")}, real, name)


if __name__ == "__main__":
    unittest.main()
