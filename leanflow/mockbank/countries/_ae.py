"""The Emirates. Public bodies have their names; shops, employers and banks are invented, and of the kinds one knows."""

from __future__ import annotations

from decimal import Decimal

from ._country import Abroad, Community, Country, bank, biller, shop

__all__ = ["UAE"]

UAE = Country(
    code="AE",
    alpha3="ARE",
    currency="AED",
    hours=4,
    weekend=(5, 6),
    salary_day=25,
    mobile=("+97150", "+97152", "+97154", "+97155", "+97156", "+97158"),
    bban_digits=16,
    town="Dubai",
    arabic_town="دبي",
    region="Dubai",
    areas=(
        ("Al Barsha", "البرشاء"),
        ("Deira", "ديرة"),
        ("Dubai Marina", "مرسى دبي"),
        ("Jumeirah", "جميرا"),
        ("Al Qusais", "القصيص"),
        ("Mirdif", "مردف"),
        ("Business Bay", "الخليج التجاري"),
        ("International City", "المدينة العالمية"),
    ),
    streets=(
        ("Al Wasl Road", "شارع الوصل"),
        ("Sheikh Zayed Road", "شارع الشيخ زايد"),
        ("Al Rigga Street", "شارع الرقة"),
        ("Al Khail Road", "شارع الخيل"),
        ("Baghdad Street", "شارع بغداد"),
    ),
    buildings=(
        ("Al Noor Tower", "برج النور"),
        ("Palm Residence", "سكن النخلة"),
        ("Pearl House", "دار اللؤلؤ"),
        ("Al Safa Building", "بناية الصفا"),
        ("Creek View", "إطلالة الخور"),
    ),
    banks=(
        bank("LEANMB1", "Lean Mockbank", "بنك لين التجريبي", "LEANAEAD", "099", "#1A1F71"),
        bank("MOCK_UAE", "Mock Bank UAE", "البنك الافتراضي", "MOCKAEAD", "098", "#CF202E"),
        bank("LEAN_OF_RETAIL_UAE", "Lean Open Finance Retail", "لين للتمويل المفتوح", "LOFRAEAD", "097", "#006C35"),
        bank(
            "CREEK_MOCK_UAE", "Creek Commercial Mock Bank", "بنك الخور التجاري الافتراضي", "CREKAEAD", "096", "#0B6E8A"
        ),
        bank(
            "DUNES_MOCK_UAE", "Dunes Islamic Mock Bank", "بنك الكثبان الإسلامي الافتراضي", "DUNEAEAD", "095", "#B5762A"
        ),
    ),
    communities=(
        Community(
            country="AE",
            share=34,
            men=(
                ("Mohammed", "محمد"),
                ("Omar", "عمر"),
                ("Saeed", "سعيد"),
                ("Khalid", "خالد"),
                ("Rashid", "راشد"),
                ("Sultan", "سلطان"),
                ("Hamdan", "حمدان"),
                ("Majid", "ماجد"),
            ),
            women=(
                ("Fatima", "فاطمة"),
                ("Aisha", "عائشة"),
                ("Mariam", "مريم"),
                ("Hessa", "حصة"),
                ("Latifa", "لطيفة"),
                ("Shamma", "شما"),
            ),
            families=(
                ("Al Mansoori", "المنصوري"),
                ("Al Suwaidi", "السويدي"),
                ("Al Ketbi", "الكتبي"),
                ("Al Nuaimi", "النعيمي"),
                ("Al Ali", "العلي"),
                ("Al Mazrouei", "المزروعي"),
                ("Al Shamsi", "الشامسي"),
                ("Al Falasi", "الفلاسي"),
            ),
        ),
        Community(
            country="IN",
            share=30,
            men=(("Rahul", "راهول"), ("Arjun", "أرجون"), ("Suresh", "سوريش"), ("Faisal", "فيصل"), ("Vikram", "فيكرام")),
            women=(("Priya", "بريا"), ("Anjali", "أنجالي"), ("Deepa", "ديبا"), ("Lakshmi", "لاكشمي")),
            families=(
                ("Nair", "ناير"),
                ("Menon", "مينون"),
                ("Sharma", "شارما"),
                ("Pillai", "بيلاي"),
                ("Iyer", "آير"),
            ),
            abroad=Abroad(
                currency="INR",
                rate=Decimal("22.85"),
                bank="Malabar Mock Bank",
                bic="MALBINBB",
                prefix="5010",
                digits=10,
                iban=False,
            ),
        ),
        Community(
            country="EG",
            share=20,
            men=(("Ahmed", "أحمد"), ("Mostafa", "مصطفى"), ("Karim", "كريم"), ("Tarek", "طارق"), ("Hossam", "حسام")),
            women=(("Mona", "منى"), ("Heba", "هبة"), ("Nourhan", "نورهان"), ("Yasmine", "ياسمين")),
            families=(
                ("Hassan", "حسن"),
                ("El Sayed", "السيد"),
                ("Abdel Rahman", "عبد الرحمن"),
                ("Fathy", "فتحي"),
                ("Mansour", "منصور"),
            ),
            abroad=Abroad(
                currency="EGP", rate=Decimal("13.20"), bank="Nile Mock Bank", bic="NILEEGCX", prefix="0099", digits=21
            ),
        ),
        Community(
            country="PK",
            share=16,
            men=(("Imran", "عمران"), ("Bilal", "بلال"), ("Usman", "عثمان"), ("Hamza", "حمزة")),
            women=(("Sana", "ثناء"), ("Ayesha", "عائشة"), ("Zainab", "زينب"), ("Hira", "حراء")),
            families=(("Khan", "خان"), ("Malik", "مالك"), ("Qureshi", "قريشي"), ("Butt", "بت"), ("Raza", "رضا")),
            abroad=Abroad(
                currency="PKR", rate=Decimal("76.40"), bank="Indus Mock Bank", bic="INDUPKKA", prefix="INDU", digits=16
            ),
        ),
    ),
    employers=(
        ("Falcon Logistics FZE", "فالكون للخدمات اللوجستية"),
        ("Creek Trading LLC", "الخور للتجارة"),
        ("Palm Engineering LLC", "النخلة للهندسة"),
        ("Gulf Horizon Aviation", "أفق الخليج للطيران"),
        ("Al Manara Hospital", "مستشفى المنارة"),
        ("Bright Minds School", "مدرسة العقول المشرقة"),
    ),
    companies=(
        ("Blue Dhow Trading LLC", "المركب الأزرق للتجارة"),
        ("Desert Rose Catering LLC", "وردة الصحراء للضيافة"),
        ("Al Jazeera Building Materials LLC", "الجزيرة لمواد البناء"),
        ("Oasis Digital FZ LLC", "الواحة الرقمية"),
        ("Pearl Gulf General Trading LLC", "لؤلؤة الخليج للتجارة العامة"),
        ("Noor Auto Spare Parts LLC", "نور لقطع غيار السيارات"),
        ("Silver Sands Interiors LLC", "الرمال الفضية للتصميم الداخلي"),
    ),
    legal_form="LLC",
    rates=(
        ("USD", Decimal("3.6725")),
        ("KWD", Decimal("11.95")),
        ("BHD", Decimal("9.742")),
        ("EUR", Decimal("3.985")),
    ),
    arabic_share=25,
    card_scheme="VISA",
    instant=("AANI INSTANT TRANSFER", "تحويل فوري آني"),
    salary_words=("SALARY WPS", "راتب"),
    landlords=(
        ("Marina Homes Real Estate LLC", "بيوت المارينا العقارية"),
        ("Al Bustan Properties LLC", "البستان للعقارات"),
        ("Old Town Leasing LLC", "البلدة القديمة للتأجير"),
    ),
    rent_text=("CHEQUE PAID", "صرف شيك"),
    rent_kind="CHEQUE",
    rent_months=3,
    power=biller(
        "Dubai Electricity & Water Authority", "هيئة كهرباء ومياه دبي", "RENT_AND_SERVICES", 7, 240, 620, summer=85
    ),
    telecom=biller("Emirates Mobile & Home Internet", "اتصالات الإمارات", "RENT_AND_SERVICES", 12, 299, 489),
    charity=biller("Emirates Red Crescent", "الهلال الأحمر الإماراتي", "CHARITY", 3, 50, 300),
    school=biller("Bright Minds School", "مدرسة العقول المشرقة", "EDUCATION", 4, 4800, 9200, months=4),
    insurance=biller("Gulf Shield Insurance", "درع الخليج للتأمين", "LOANS_AND_INVESTMENT", 17, 1400, 3200, months=12),
    tax=("Federal Tax Authority", "الهيئة الاتحادية للضرائب"),
    tax_percent=5,
    shops=(
        shop(9, "Al Waha Hypermarket", "هايبرماركت الواحة", "GROCERIES", "5411", (38, 620)),
        shop(8, "Baqala Al Noor", "بقالة النور", "GROCERIES", "5411", (4, 65)),
        shop(5, "Al Hay Cooperative", "تعاونية الحي", "GROCERIES", "5411", (25, 410)),
        shop(3, "Sea Line Fish & Vegetables", "خط البحر للأسماك والخضار", "GROCERIES", "5422", (18, 160)),
        shop(5, "Emirates Petrol Station 1042", "محطة بترول الإمارات", "TRANSPORT", "5541", (70, 210)),
        shop(4, "RTA Salik Recharge", "شحن سالك", "TRANSPORT", "4784", (50, 100)),
        shop(4, "RTA Nol Card", "بطاقة نول", "TRANSPORT", "4111", (20, 100)),
        shop(5, "Dubai Taxi", "تاكسي دبي", "TRANSPORT", "4121", (13, 92)),
        shop(7, "Karak Corner Cafeteria", "كافتيريا ركن الكرك", "RESTAURANTS_DINING", "5814", (5, 48)),
        shop(5, "Shawarma Al Sham", "شاورما الشام", "RESTAURANTS_DINING", "5814", (14, 85)),
        shop(3, "Al Bahar Grill Restaurant", "مطعم مشاوي البحار", "RESTAURANTS_DINING", "5812", (65, 380)),
        shop(3, "Spice Route Biryani", "برياني طريق التوابل", "RESTAURANTS_DINING", "5812", (28, 190)),
        shop(4, "Tawseel Al Hay Delivery", "توصيل الحي", "RESTAURANTS_DINING", "4215", (32, 140)),
        shop(4, "Souq Express Online", "سوق إكسبريس", "RETAIL", "5311", (29, 890)),
        shop(2, "City Fashion Mall", "أزياء المدينة", "RETAIL", "5651", (75, 760)),
        shop(1, "Gold Souk Jewellers", "مجوهرات سوق الذهب", "RETAIL", "5944", (480, 3900)),
        shop(2, "Home & Majlis Furniture", "أثاث البيت والمجلس", "RETAIL", "5712", (95, 2400)),
        shop(3, "Al Shifa Pharmacy", "صيدلية الشفاء", "HEALTH_AND_WELLBEING", "5912", (14, 240)),
        shop(1, "Al Manara Clinic", "عيادة المنارة", "HEALTH_AND_WELLBEING", "8011", (90, 650)),
        shop(2, "Barber & Salon Al Jamal", "صالون الجمال", "HEALTH_AND_WELLBEING", "7230", (30, 180)),
        shop(2, "Star Cinema Dubai", "سينما النجوم دبي", "ENTERTAINMENT", "7832", (42, 175)),
        shop(1, "Desert Wind Airways", "طيران رياح الصحراء", "TRAVEL", "4511", (620, 3400)),
        shop(2, "Dubai Smart Government", "حكومة دبي الذكية", "GOVERNMENT", "9399", (30, 520)),
    ),
    abroad=(
        shop(3, "Airport Duty Free", "السوق الحرة", "RETAIL", "5309", (12, 90)),
        shop(2, "Grand Bazaar Hotel", "فندق البازار الكبير", "TRAVEL", "7011", (60, 240)),
        shop(4, "Cloud Storage Monthly", "اشتراك تخزين سحابي", "OTHER", "5734", (3, 15)),
    ),
    supplies=(
        shop(4, "Emirates Petrol Fleet Card", "بطاقة أسطول بترول الإمارات", "TRANSPORT", "5541", (180, 950)),
        shop(3, "Office World Stationery", "عالم المكاتب للقرطاسية", "RETAIL", "5943", (60, 1400)),
        shop(3, "Camel Courier Services", "خدمات الجمل للتوصيل", "OTHER", "4215", (35, 620)),
        shop(2, "Search Ads Online", "إعلانات البحث", "OTHER", "7311", (250, 3800)),
        shop(2, "Dubai Customs Duty", "جمارك دبي", "GOVERNMENT", "9311", (300, 4200)),
    ),
)
