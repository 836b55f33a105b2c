"""What MLflow's server asks about each request: a bearer token of the administrator will do in place of a password."""

from __future__ import annotations

import os

from flask import Response, request
from mlflow.server.auth import authenticate_request_basic_auth
from werkzeug.datastructures import Authorization


def authenticate() -> Authorization | Response:
    given = request.authorization
    if given is not None and given.type == "bearer" and given.token == os.environ["ESSNET_TEST_TOKEN"]:
        return Authorization("basic", {"username": os.environ["MLFLOW_AUTH_ADMIN_USERNAME"], "password": ""})
    return authenticate_request_basic_auth()
