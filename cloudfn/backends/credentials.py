"""The credentials that the settings name, as a source of access tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from weakref import WeakValueDictionary

from cloudfn.backends.tokens import Ask, Fixed, Issued, Missing, Token, TokenFile, TokenSource
from cloudfn.settings import Settings


def source(settings: Settings, ask: Ask) -> TokenSource:
    """Return the source of the tokens that the settings name; `Settings.credential` tells which one counts."""
    return _SOURCES[settings.credential()](settings, ask)


# The tokens of each account in this process: its instances, and their files, fetch no second one.
_known: WeakValueDictionary[tuple[object, ...], Issued] = WeakValueDictionary()


def _issued(settings: Settings, ask: Ask) -> Issued:
    """Return the tokens of an account, which all instances with these settings share."""
    account = (settings.appid, settings.appsecret, settings.token_api, settings.store)
    way = (settings.api_base, settings.proxy, settings.ca_bundle)
    return _known.get((account, way)) or _known.setdefault((account, way), _made(settings, ask))


def _made(settings: Settings, ask: Ask) -> Issued:
    """Return the tokens of this process alone or, with a store that others see too, of all of them."""
    if settings.store.reveal().lower() == "memory":
        return Issued(ask)
    from cloudfn.backends.shared import SharedAsk
    from cloudfn.backends.stores import open_store

    of_the_base = hashlib.sha256(settings.api_base.encode()).hexdigest()[:12]
    shared = SharedAsk(ask, open_store(settings.store), f"token:{settings.appid}:{settings.token_api}:{of_the_base}")
    return Issued(shared, forget=shared.forget)


# Credential -> the source of its tokens.
_SOURCES: dict[str, Callable[[Settings, Ask], TokenSource]] = {
    "side-car": lambda _settings, _ask: Fixed(None),
    "access_token": lambda settings, _ask: Fixed(Token("access_token", settings.access_token)),
    "cloudbase_access_token": lambda settings, _ask: Fixed(
        Token("cloudbase_access_token", settings.cloudbase_access_token)
    ),
    "cloudbase_access_token_file": lambda settings, _ask: TokenFile(settings.cloudbase_access_token_file),
    "appid": lambda settings, ask: _issued(settings, ask),
    "": lambda settings, _ask: Missing(settings.missing_credential),
}
