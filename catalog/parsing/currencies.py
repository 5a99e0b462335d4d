"""Currencies as prices name them: codes of ISO 4217, and the signs and words that stand for one."""

from __future__ import annotations

import polars as pl

_CODES = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP "
    "CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF "
    "IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD "
    "MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB "
    "RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU "
    "UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWL HRK LTL LVL EEK DEM FRF ITL ESP ATS NLG"
)
CODES = frozenset(_CODES.split())
# Signs and words of one currency, in lower case.
CERTAIN = {
    "€": "EUR", "euro": "EUR", "euros": "EUR", "£": "GBP", "₹": "INR", "zł": "PLN", "zl": "PLN", "kč": "CZK",
    "r$": "BRL", "us$": "USD", "$us": "USD", "usd$": "USD", "u$s": "USD", "a$": "AUD", "au$": "AUD", "c$": "CAD",
    "ca$": "CAD", "cad$": "CAD", "can$": "CAD", "nz$": "NZD", "hk$": "HKD", "s$": "SGD", "nt$": "TWD", "mx$": "MXN",
    "fr.": "CHF", "sfr.": "CHF", "sfr": "CHF", "ft": "HUF", "lei": "RON", "лв": "BGN", "лв.": "BGN", "₽": "RUB",
    "руб": "RUB", "руб.": "RUB", "₺": "TRY", "tl": "TRY", "₩": "KRW", "원": "KRW", "₫": "VND", "đ": "VND", "฿": "THB",
    "₴": "UAH", "грн": "UAH", "₪": "ILS", "₦": "NGN", "₱": "PHP", "₡": "CRC", "₲": "PYG", "₸": "KZT", "元": "CNY",
    "cn¥": "CNY", "rmb": "CNY", "円": "JPY", "jp¥": "JPY", "rm": "MYR", "rp": "IDR", "dkr": "DKK", "skr": "SEK",
    "nkr": "NOK", "dhs": "AED", "kn": "HRK",
}  # fmt: skip
# Signs of several currencies: the usual one is taken, and said to be.
ASSUMED = {"$": "USD", "¥": "JPY", "rs": "INR", "rs.": "INR", "₨": "INR"}
# Of several, none of them usual: left open.
OPEN = ("kr", "kr.")
SIGNS = {**CERTAIN, **ASSUMED}
# What may stand before or after an amount, longest first, as a pattern.
PATTERN = "|".join(
    [
        *(
            word.replace("$", r"\$").replace(".", r"\.")
            for word in sorted((*SIGNS, "kr", "kr."), key=len, reverse=True)
        ),
        r"[a-z]{3}",
    ]
)


def code_of(signs: pl.Series) -> pl.Series:
    """The code of a sign, word or code as it stands beside an amount, in any case; null where it tells none."""
    known = {**SIGNS, **{code.lower(): code for code in CODES}}
    return signs.str.to_lowercase().replace_strict(
        list(known), list(known.values()), default=None, return_dtype=pl.String
    )


def currency_codes(column: pl.Series) -> pl.Series:
    """A column of currencies with signs and lower-case codes as codes; other words stay as they are."""
    codes = code_of(column)
    return codes.zip_with(codes.is_not_null(), column)


def assumptions(signs: pl.Series) -> list[str]:
    """Notes on signs that are of several currencies."""
    counts = dict(signs.drop_nulls().value_counts().rows())
    notes = [f"{sign} x {counts[sign]} is taken for {code}" for sign, code in ASSUMED.items() if sign in counts]
    left_open = sum(counts.get(sign, 0) for sign in OPEN)
    if left_open:
        notes.append(f"kr x {left_open} may be SEK, NOK, DKK or ISK: the currency is left open")
    return notes
