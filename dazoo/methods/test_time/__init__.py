"""Test-time adaptation: the target comes as a stream, and each batch is answered on arrival."""
