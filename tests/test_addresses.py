"""No secret of an address is told."""

import pytest

from deblur.addresses import login_of, shown, without_secrets


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://user:pass@host:5000/a", "http://host:5000/a"),
        ("https://token@host", "https://host"),
        ("postgresql+psycopg://user:p@ss/word#1@db/runs?sslpassword=pass", "postgresql+psycopg://db/runs"),
        ("http://user:two words@host", "http://host"),
        ("http://host/api", "http://host/api"),
        ("sqlite:////home/mlflow.db", "sqlite:////home/mlflow.db"),
        ("/home/mlruns", "/home/mlruns"),
    ],
)
def test_an_address_is_shown_without_its_login(address: str, told: str) -> None:
    assert shown(address) == told


def test_a_login_is_taken_out_of_an_address() -> None:
    assert login_of("http://user:p%40ss%2F@host:5000/a@b") == ("http://host:5000/a@b", "user", "p@ss/")
    assert login_of("https://host/a") == ("https://host/a", "", "")


@pytest.mark.parametrize("password", ["SECRETPW", "SECRET/PW", "SECRET@PW", "SECRET PW", "SECRET%20PW", "SECRET:PW#?"])
def test_words_of_others_tell_no_secret_however_they_were_cut(password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://user:{password}@host/api"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "TOKEN-SECRET")
    for words in (
        f"no answer of {address}: sorry",
        f"nonnumeric port: '{password.partition('/')[0]}'",
        "a TOKEN-SECRET",
    ):
        assert "SECRET" not in without_secrets(words)
    assert without_secrets("models:/name@champion is not there") == "models:/name@champion is not there"
