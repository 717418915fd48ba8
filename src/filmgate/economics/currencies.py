"""The currencies in which amounts can be: those of countries in ISO 4217, as of 2025.

The list is kept by SIX Financial Information (iso.org/iso-4217-currency-codes.html).
"""

from __future__ import annotations

from difflib import get_close_matches

from filmgate.spec.errors import InvalidRequest

_TEXT = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY
COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR
ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK
MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF
SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU
UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG
"""
CODES = frozenset(_TEXT.split())
_EXAMPLES = "a code of ISO 4217, as USD, EUR, GBP, CNY or JPY"


def checked_currency(code: object, field: str) -> str:
    """A currency by its code.

    Raises:
        InvalidRequest: it is none; ``field`` says where it was named.
    """
    if isinstance(code, str) and code in CODES:
        return code
    near = str(code).strip().upper()
    if near not in CODES:
        near = next(iter(get_close_matches(near, sorted(CODES), n=1)), "")
    raise InvalidRequest(field, f"{code!r} is no currency", allowed=_EXAMPLES, nearest=near or None)
