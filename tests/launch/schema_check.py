"""The part of OpenAPI that CRDs use. Unlike the API server, which drops an unknown field in silence, it names it."""
import json
import pathlib

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}


def mpijob_schema():
    """Of kubeflow.org/v2beta1, as the file in schemas/ says where from."""
    return json.loads((pathlib.Path(__file__).parent / "schemas/mpijob-v2beta1.json").read_text())["schema"]


def faults(value, schema, path=""):
    """One line for each thing that does not fit; none: it fits."""
    if schema.get("x-kubernetes-int-or-string"):
        return [] if isinstance(value, (int, str)) else [f"{path}: neither a number nor text"]
    if not fits_type(value, schema.get("type")):
        return [f"{path}: {type(value).__name__}, not {schema['type']}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{path}: {value!r} is none of {schema['enum']}"]
    if isinstance(value, list):
        return [line for index, item in enumerate(value) for line in faults(item, schema.get("items", {}), f"{path}/{index}")]
    if not isinstance(value, dict):
        return []
    found = [f"{path}: {name} is missing" for name in schema.get("required", []) if name not in value]
    for name, item in value.items():
        part = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
        if part is None and "properties" in schema:
            found.append(f"{path}: {name} is unknown")
        elif isinstance(part, dict):
            found += faults(item, part, f"{path}/{name}")
    return found


def fits_type(value, name):
    if name is None:
        return True
    return isinstance(value, TYPES[name]) and not (isinstance(value, bool) and name in ("integer", "number"))
