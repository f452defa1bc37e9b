"""Signing in: one-time links and the sessions they open. Only hashes of the secrets are stored."""

import secrets
from hashlib import sha256

from sqlalchemy import delete, insert, or_, select, update

from app.database import Database, now
from app.schema import session as sessions
from app.schema import sign_in_token as tokens

_DAY = 86_400
_TOKEN_SECONDS = _DAY  # a link that was printed and never opened stops working after a day


class Sessions:
    def __init__(self, database: Database, session_days: float) -> None:
        self._database = database
        self._seconds = session_days * _DAY

    async def issue_link(self, account: str) -> str:
        """A token for `/?token=...` that signs `account` in once."""
        token = secrets.token_urlsafe(24)
        values = {
            "token_hash": _hash(token),
            "account": account,
            "created_at": now(),
            "expires_at": now() + _TOKEN_SECONDS,
        }
        async with self._database.write() as connection:
            await connection.execute(insert(tokens).values(values))
        return token

    async def redeem(self, token: str) -> str | None:
        """The key of a new session, or None if the token is unknown, used or too old."""
        spend = (
            update(tokens)
            .where(
                tokens.c.token_hash == _hash(token), tokens.c.used_at.is_(None), tokens.c.expires_at > now()
            )
            .values(used_at=now())
            .returning(tokens.c.account)
        )
        key = secrets.token_urlsafe(32)
        async with self._database.write() as connection:
            account = (await connection.execute(spend)).scalar_one_or_none()
            if account is None:
                return None
            await connection.execute(
                insert(sessions).values(
                    id_hash=_hash(key), account=account, created_at=now(), expires_at=now() + self._seconds
                )
            )
        return key

    async def account(self, key: str) -> str | None:
        """The account that the session `key` belongs to."""
        query = select(sessions.c.account).where(
            sessions.c.id_hash == _hash(key), sessions.c.expires_at > now()
        )
        async with self._database.read() as connection:
            account: str | None = (await connection.execute(query)).scalar_one_or_none()
        return account

    async def end(self, key: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(delete(sessions).where(sessions.c.id_hash == _hash(key)))

    async def sweep(self) -> None:
        """Removes what signs nobody in any more."""
        spent = or_(tokens.c.expires_at < now(), tokens.c.used_at.is_not(None))
        async with self._database.write() as connection:
            await connection.execute(delete(sessions).where(sessions.c.expires_at < now()))
            await connection.execute(delete(tokens).where(spent))


def _hash(secret: str) -> str:
    # The secrets are random and long, so a plain hash suffices: there is nothing to guess.
    return sha256(secret.encode()).hexdigest()
