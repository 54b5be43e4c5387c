"""Names, banks, shops and places: the words of which the seeded data are made."""

from __future__ import annotations

import attrs

__all__ = ["Bank", "Country", "Merchant", "country_of"]


@attrs.frozen(kw_only=True)
class Bank:
    """A simulated bank.

    Attributes:
        identifier: Lean's own (Lean docs, sandbox).
        bic: eight letters.
        code: the bank's part of an IBAN.
    """

    identifier: str
    name: str
    arabic_name: str
    bic: str
    code: str
    main_color: str


@attrs.frozen(kw_only=True)
class Merchant:
    """Where money goes: a name, its category (Lean's list), ISO 18245 code and usual amounts in whole units."""

    name: str
    arabic_name: str
    category: str
    mcc: str
    least: int
    most: int


@attrs.frozen(kw_only=True)
class Country:
    """What makes the data of a region recognisable.

    Attributes:
        code: of two letters; `alpha3` the one of three.
        bban_digits: how many follow the bank's code in an IBAN.
        people: name, Arabic name, gender.
        employers: who pays salaries.
        landlord, power, telecom: who is paid each month.
    """

    code: str
    alpha3: str
    currency: str
    zone: str
    phone: str
    bban_digits: int
    town: str
    arabic_town: str
    region: str
    banks: tuple[Bank, ...]
    people: tuple[tuple[str, str, str], ...]
    employers: tuple[tuple[str, str], ...]
    landlord: Merchant
    power: Merchant
    telecom: Merchant
    shops: tuple[Merchant, ...]


def _shop(name: str, arabic: str, category: str, mcc: str, least: int, most: int) -> Merchant:
    return Merchant(name=name, arabic_name=arabic, category=category, mcc=mcc, least=least, most=most)


_UAE = Country(
    code="AE",
    alpha3="ARE",
    currency="AED",
    zone="Asia/Dubai",
    phone="+9715",
    bban_digits=16,
    town="Dubai",
    arabic_town="دبي",
    region="Dubai",
    banks=(
        Bank(
            identifier="LEANMB1",
            name="Lean Mockbank",
            arabic_name="بنك لين التجريبي",
            bic="LEANAEAD",
            code="099",
            main_color="#1A1F71",
        ),
        Bank(
            identifier="MOCK_UAE",
            name="Mock Bank UAE",
            arabic_name="البنك الافتراضي",
            bic="MOCKAEAD",
            code="098",
            main_color="#CF202E",
        ),
        Bank(
            identifier="LEAN_OF_RETAIL_UAE",
            name="Lean Open Finance Retail",
            arabic_name="لين للتمويل المفتوح",
            bic="LOFRAEAD",
            code="097",
            main_color="#006C35",
        ),
    ),
    people=(
        ("Mohammed Ahmed Al Mansoori", "محمد أحمد المنصوري", "MALE"),
        ("Fatima Khalid Al Suwaidi", "فاطمة خالد السويدي", "FEMALE"),
        ("Omar Saeed Al Ketbi", "عمر سعيد الكتبي", "MALE"),
        ("Aisha Rashid Al Nuaimi", "عائشة راشد النعيمي", "FEMALE"),
        ("Priya Ramesh Nair", "بريا راميش ناير", "FEMALE"),
        ("Yousef Ibrahim Haddad", "يوسف إبراهيم حداد", "MALE"),
        ("Mariam Sultan Al Ali", "مريم سلطان العلي", "FEMALE"),
    ),
    employers=(
        ("Falcon Logistics FZE", "فالكون للخدمات اللوجستية"),
        ("Creek Trading LLC", "الخور للتجارة"),
        ("Palm Engineering LLC", "النخلة للهندسة"),
    ),
    landlord=_shop("Marina Properties LLC", "عقارات المارينا", "RENT_AND_SERVICES", "6513", 5200, 9800),
    power=_shop("DEWA", "هيئة كهرباء ومياه دبي", "RENT_AND_SERVICES", "4900", 210, 890),
    telecom=_shop("Etisalat", "اتصالات", "RENT_AND_SERVICES", "4814", 199, 449),
    shops=(
        _shop("Carrefour Hypermarket", "كارفور", "GROCERIES", "5411", 25, 640),
        _shop("Lulu Hypermarket", "لولو هايبرماركت", "GROCERIES", "5411", 18, 520),
        _shop("Spinneys", "سبينس", "GROCERIES", "5411", 22, 380),
        _shop("ENOC Station 1042", "محطة إينوك", "TRANSPORT", "5541", 60, 240),
        _shop("RTA Salik", "سالك", "TRANSPORT", "4784", 4, 100),
        _shop("Careem Rides", "كريم", "TRANSPORT", "4121", 12, 95),
        _shop("Al Safadi Restaurant", "مطعم الصفدي", "RESTAURANTS_DINING", "5812", 35, 260),
        _shop("Noon.com", "نون", "RETAIL", "5311", 30, 1250),
        _shop("Aster Pharmacy", "صيدلية أستر", "HEALTH_AND_WELLBEING", "5912", 15, 310),
        _shop("Vox Cinemas", "فوكس سينما", "ENTERTAINMENT", "7832", 45, 180),
        _shop("Emirates Airline", "طيران الإمارات", "TRAVEL", "3026", 650, 4200),
        _shop("Emirates Red Crescent", "الهلال الأحمر الإماراتي", "CHARITY", "8398", 20, 500),
    ),
)

_KSA = Country(
    code="SA",
    alpha3="SAU",
    currency="SAR",
    zone="Asia/Riyadh",
    phone="+9665",
    bban_digits=18,
    town="Riyadh",
    arabic_town="الرياض",
    region="Riyadh",
    banks=(
        Bank(
            identifier="MOCK_KSA",
            name="Mock Bank KSA",
            arabic_name="البنك الافتراضي السعودي",
            bic="MOCKSARI",
            code="98",
            main_color="#CF202E",
        ),
        Bank(
            identifier="LEA1_SAMAOB_SAU",
            name="Lean Open Banking One",
            arabic_name="لين للمصرفية المفتوحة الأولى",
            bic="LEONSARI",
            code="97",
            main_color="#1A1F71",
        ),
        Bank(
            identifier="LEA2_SAMAOB_SAU",
            name="Lean Open Banking Two",
            arabic_name="لين للمصرفية المفتوحة الثانية",
            bic="LETWSARI",
            code="96",
            main_color="#006C35",
        ),
    ),
    people=(
        ("Abdullah Ahmed Al Qahtani", "عبدالله أحمد القحطاني", "MALE"),
        ("Fatimah Saleh Al Harbi", "فاطمة صالح الحربي", "FEMALE"),
        ("Khalid Nasser Al Otaibi", "خالد ناصر العتيبي", "MALE"),
        ("Noura Fahad Al Dosari", "نورة فهد الدوسري", "FEMALE"),
        ("Sultan Majed Al Ghamdi", "سلطان ماجد الغامدي", "MALE"),
        ("Reem Turki Al Shammari", "ريم تركي الشمري", "FEMALE"),
        ("Hassan Ali Al Zahrani", "حسن علي الزهراني", "MALE"),
    ),
    employers=(
        ("Najd Contracting Co", "شركة نجد للمقاولات"),
        ("Tuwaiq Systems", "أنظمة طويق"),
        ("Hejaz Foods Co", "أغذية الحجاز"),
    ),
    landlord=_shop("Al Yasmin Real Estate", "الياسمين العقارية", "RENT_AND_SERVICES", "6513", 2400, 6200),
    power=_shop("Saudi Electricity Company", "الشركة السعودية للكهرباء", "RENT_AND_SERVICES", "4900", 120, 780),
    telecom=_shop("stc", "الاتصالات السعودية", "RENT_AND_SERVICES", "4814", 115, 399),
    shops=(
        _shop("Panda Retail", "بنده", "GROCERIES", "5411", 20, 560),
        _shop("Othaim Markets", "أسواق العثيم", "GROCERIES", "5411", 15, 430),
        _shop("Tamimi Markets", "التميمي", "GROCERIES", "5411", 25, 390),
        _shop("Aldrees Station", "محطة الدريس", "TRANSPORT", "5541", 40, 190),
        _shop("Uber Riyadh", "أوبر", "TRANSPORT", "4121", 12, 88),
        _shop("Albaik", "البيك", "RESTAURANTS_DINING", "5814", 18, 140),
        _shop("Najd Village", "القرية النجدية", "RESTAURANTS_DINING", "5812", 60, 340),
        _shop("Jarir Bookstore", "مكتبة جرير", "RETAIL", "5942", 25, 1800),
        _shop("Nahdi Pharmacy", "صيدلية النهدي", "HEALTH_AND_WELLBEING", "5912", 14, 290),
        _shop("Muvi Cinemas", "موڤي سينما", "ENTERTAINMENT", "7832", 45, 160),
        _shop("flynas", "طيران ناس", "TRAVEL", "4511", 240, 1900),
        _shop("Ehsan", "منصة إحسان", "CHARITY", "8398", 10, 500),
    ),
)


def country_of(region: str) -> Country:
    """Return the words of a region, ``uae`` or ``ksa``."""
    return _KSA if region == "ksa" else _UAE
