import base64
import struct
import time
import zlib
from typing import Any

import pytest

from langchain_minitoolai._chat.tokens import (
    count_image_tokens,
    count_request_tokens,
    count_text_tokens,
)


@pytest.mark.parametrize(
    ("size", "tiles"),
    [
        ((512, 512), 1),
        ((513, 512), 2),
        ((1024, 1024), 4),  # to 768 × 768
        ((2048, 4096), 6),  # to 1024 × 2048, then 768 × 1536
        ((4096, 512), 4),  # to 2048 × 256
        ((1, 1), 1),
        (None, 4),
    ],
)
def test_an_image_counts_by_openai_s_published_tiles(
    size: tuple[int, int] | None, tiles: int
) -> None:
    for model, base, tile in (
        ("gpt-4o", 85, 170),
        ("gpt-4o-mini", 2833, 5667),
        ("gpt-4.1", 85, 170),
        ("gpt-9", 85, 170),
    ):
        for detail in ("high", "auto", None):
            assert count_image_tokens(model, detail, size) == base + tiles * tile
        assert count_image_tokens(model, "low", size) == base


def test_the_smaller_models_count_patches() -> None:
    assert count_image_tokens("gpt-4.1-mini", None, (1024, 1024)) == 1659  # 1024 × 1.62
    assert count_image_tokens("gpt-4.1-nano", "low", (320, 33)) == 50  # 20 × 2.46
    assert count_image_tokens("gpt-4.1-mini", None, (10_000, 10_000)) == 2489  # 1536 × 1.62
    assert count_image_tokens("gpt-4.1-mini-2025-04-14", None, (32, 32)) == 2


# --- Token estimates -----------------------------------------------------------------


def png(width: int, height: int) -> str:
    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(data).decode()


def letters(text: str) -> list[int]:
    return [ord(char) for char in text]


def user(content: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": content}]}


EMPTY = count_request_tokens(user(""))


def test_four_characters_are_a_token() -> None:
    assert count_text_tokens("") == 0
    assert count_text_tokens("abcd") == 1
    assert count_text_tokens("abcde") == 2


# A greeting with OpenAI's published counts of GPT-4o's tokenizer.
PUBLISHED = {
    "Hello, my name is GPT-4o. I'm a new type of language model, it's nice to meet you!": 24,
    "Hallo, mein Name is GPT-4o. Ich bin ein neues KI-Sprachmodell. "
    "Es ist schön, dich kennenzulernen.": 29,
    "你好,我的名字是GPT-4o。我是一种新型的语言模型,很高兴见到你!": 24,
    "こんにちわ、私の名前はGPT-4oです。私は新しいタイプの言語モデルです、初めまして": 26,
    "안녕하세요, 제 이름은 GPT-4o입니다. 저는 새로운 유형의 언어 모델입니다, "
    "만나서 반갑습니다!": 27,
    "Привет, меня зовут GPT-4o. Я — новая языковая модель, приятно познакомиться!": 23,
    "مرحبًا، اسمي جي بي تي-4o. أنا نوع جديد من نموذج اللغة، سررت بلقائك!": 26,
    "नमस्ते, मेरा नाम जीपीटी-4o है। मैं एक नए प्रकार का भाषा मॉडल हूँ। आपसे मिलकर अच्छा लगा!": 31,
    "வணக்கம், என் பெயர் ஜிபிடி-4o. நான் ஒரு புதிய வகை மொழி மாடல். உங்களை சந்தித்ததில் மகிழ்ச்சி!": 35,
}


@pytest.mark.parametrize(("text", "tokens"), PUBLISHED.items())
def test_an_estimate_is_within_a_quarter_of_the_published_count(text: str, tokens: int) -> None:
    assert count_text_tokens(text) == pytest.approx(tokens, rel=0.25)


# The first article of the Universal Declaration of Human Rights (in some languages its beginning),
# and emoji, with the counts of o200k_base, the tokenizer of GPT-4o and GPT-4.1, as computed by
# GitHub's bpe-openai 0.1.4, which holds OpenAI's published table.
COMPUTED = {
    "English": (
        (
            "All human beings are born free and equal in dignity and rights. They "
            "are endowed with reason and conscience and should act towards one "
            "another in a spirit of brotherhood."
        ),
        33,
    ),
    "Vietnamese": (
        (
            "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và "
            "quyền. Mọi con người đều được tạo hoá ban cho lý trí và lương tâm và "
            "cần phải đối xử với nhau trong tình bằng hữu."
        ),
        50,
    ),
    "Chinese": (
        "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
        37,
    ),
    "Chinese, traditional": (
        "人人生而自由,在尊嚴和權利上一律平等。他們賦有理性和良心,並應以兄弟關係的精神相對待。",
        40,
    ),
    "Japanese": (
        (
            " "
            "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。人間は、理性と良心とを授けられており、互いに同胞の精神をもって行動しなければならない。"
        ),
        72,
    ),
    "Korean": (
        (
            "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 인간은 "
            "천부적으로 이성과 양심을 부여받았으며 서로 "
            "형제애의 정신으로 행동하여야 한다."
        ),
        51,
    ),
    "Thai": (
        (
            "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ "
            "ต่างมีเหตุผลและมโนธรรม และควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ"
        ),
        63,
    ),
    "Arabic": (
        (
            "يولد جميع الناس أحراراً متساوين في الكرامة والحقوق. وقد وهبوا عقلاً "
            "وضميراً وعليهم أن يعامل بعضهم بعضاً بروح الإخاء."
        ),
        43,
    ),
    "Persian": (
        (
            "تمام افراد بشر آزاد به دنیا می‌آیند و از لحاظ حیثیت و حقوق با هم "
            "برابرند. همه دارای عقل و وجدان می‌باشند و باید نسبت به یکدیگر با روح "
            "برادری رفتار کنند."
        ),
        47,
    ),
    "Hebrew": (
        (
            "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו "
            "בתבונה ובמצפון, לפיכך חובה עליהם לנהוג איש ברעהו ברוח של אחווה."
        ),
        50,
    ),
    "Hindi": (
        (
            "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और "
            "समानता प्राप्त है। उन्हें बुद्धि और अन्तरात्मा की देन प्राप्त है और "
            "परस्पर उन्हें भाईचारे के भाव से बर्ताव करना चाहिए।"
        ),
        54,
    ),
    "Bengali": (
        (
            "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে। "
            "তাঁদের বিবেক এবং বুদ্ধি আছে; সুতরাং সকলেরই একে অপরের প্রতি "
            "ভ্রাতৃত্বসুলভ মনোভাব নিয়ে আচরণ করা উচিত।"
        ),
        56,
    ),
    "Tamil": (
        (
            "மனிதப் பிறிவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்; அவர்கள் "
            "மதிப்பிலும், உரிமைகளிலும் சமமானவர்கள், அவர்கள் நியாயத்தையும் "
            "மனச்சாட்சியையும் இயற்பண்பாகப் பெற்றவர்கள்."
        ),
        53,
    ),
    "Telugu": (
        (
            "ప్రతిపత్తిస్వత్వముల విషయమున మానవులెల్లరును జన్మతః స్వతంత్రులును "
            "సమానులును నగుదురు. వారు వివేదన-అంతఃకరణ సంపన్నులగుటచే పరస్పరము "
            "భ్రాతృభావముతో వర్తింపవలయును."
        ),
        77,
    ),
    "Russian": (
        (
            "Все люди рождаются свободными и равными в своем достоинстве и правах. "
            "Они наделены разумом и совестью и должны поступать в отношении друг "
            "друга в духе братства."
        ),
        41,
    ),
    "Greek": (
        (
            "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και "
            "τα δικαιώματα. Είναι προικισμένοι με λογική και συνείδηση, και "
            "οφείλουν να συμπεριφέρονται μεταξύ τους με πνεύμα αδελφοσύνης."
        ),
        71,
    ),
    "Georgian": (
        (
            "ყველა ადამიანი იბადება თავისუფალი და თანასწორი თავისი ღირსებითა და "
            "უფლებებით. მათ მინიჭებული აქვთ გონება და სინდისი და ერთმანეთის მიმართ "
            "უნდა იქცეოდნენ ძმობის სულისკვეთებით."
        ),
        51,
    ),
    "Armenian": (
        (
            "Բոլոր մարդիկ ծնվում են ազատ ու հավասար իրենց արժանապատվությամբ ու "
            "իրավունքներով։ Նրանք ունեն բանականություն ու խիղճ և միմյանց պետք է "
            "եղբայրաբար վերաբերվեն։"
        ),
        47,
    ),
    "Amharic": (
        (
            "የሰው ልጅ ሁሉ ሲወለድ ነጻና በክብርና በመብትም እኩልነት ያለው ነው። የተፈጥሮ ማስተዋልና ሕሊና ስላለው አንዱ "
            "ሌላውን በወንድማማችነት መንፈስ መመልከት ይገባዋል።"
        ),
        187,
    ),
    "Burmese": (
        (
            "လူတိုင်းသည် တူညီ လွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့် လည်းကောင်း၊ တူညီလွတ်လပ်သော "
            "အခွင့်အရေးများဖြင့် လည်းကောင်း၊ မွေးဖွားလာသူများ ဖြစ်သည်။"
        ),
        67,
    ),
    "Khmer": (
        (
            "មនុស្សទាំងអស់ កើតមកមានសេរីភាព និងសមភាព "
            "ក្នុងផ្នែកសេចក្ដីថ្លៃថ្នូរនិងសិទ្ធិ។ មនុស្ស "
            "មានវិចារណញ្ញាណនិងសតិសម្បជញ្ញៈជាប់ពីកំណើត"
        ),
        74,
    ),
    "emoji": (
        "😀😃😄😁😆😅😂🤣😊😇🙂🙃😉😌😍🥰😘😗😙😚😋😛😝😜🤪🤨🧐🤓😎🥳",
        51,
    ),
    "emoji in a sentence": (
        "🎉 Congratulations! 🥳 We shipped it 🚀🚀 on time ✅ with ❤️ from the 👨‍👩‍👧‍👦 team 🇳🇴",
        37,
    ),
    "emoji with selectors": (
        "🚀🔥✨🎯💡📊🛠️🧪🌍🍕🐙🦊🥑🏔️⚡️☀️",
        37,
    ),
}


@pytest.mark.parametrize(("text", "tokens"), COMPUTED.values(), ids=COMPUTED.keys())
def test_an_estimate_is_near_what_the_models_tokenizer_counts(text: str, tokens: int) -> None:
    assert 0.75 * tokens <= count_text_tokens(text) <= 1.35 * tokens


def test_a_long_text_in_many_scripts_is_estimated_quickly() -> None:
    text = "".join(text for text, _ in COMPUTED.values()) * 300
    start = time.process_time()
    assert count_text_tokens(text) > 100_000
    assert time.process_time() - start < 2


def test_a_tokenizer_counts_exactly() -> None:
    assert count_text_tokens("abc", letters) == 3
    assert count_request_tokens(user("abc"), letters) == 3 + len("user") + len("abc")


def test_messages_count_their_words_and_something_around_them() -> None:
    assert EMPTY > 0
    assert count_request_tokens(user("abcd")) == EMPTY + 1
    assert count_request_tokens(user([{"type": "text", "text": "abcd"}])) == EMPTY + 1
    twice = {"model": "gpt-4o", "messages": user("abcd")["messages"] * 2}
    assert count_request_tokens(twice) == 2 * (EMPTY + 1)


@pytest.mark.parametrize(
    ("url", "size"),
    [
        (png(2048, 512), (2048, 512)),
        ("https://example.com/a.png", None),
        ("data:image/png;base64,AAAA", None),
        ("data:image/png;base64,A", None),
        ("https://example.com/a,b.png", None),
    ],
)
@pytest.mark.parametrize("detail", ["low", "high", None])
def test_an_image_counts_by_its_size_where_that_is_known(
    url: str, size: tuple[int, int] | None, detail: str | None
) -> None:
    image = {"url": url} if detail is None else {"url": url, "detail": detail}
    count = count_request_tokens(user([{"type": "image_url", "image_url": image}]))
    assert count == EMPTY + count_image_tokens("gpt-4o", detail, size)


def test_calls_and_tools_in_fields_of_their_own_count_too() -> None:
    body = user("")
    message = {"role": "assistant", "content": None}
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    without = count_request_tokens({**body, "messages": [message]})
    assert (
        count_request_tokens({**body, "messages": [{**message, "tool_calls": [call]}]})
        > without + 10
    )
    tool = {"type": "function", "function": {"name": "add", "description": "x" * 400}}
    assert count_request_tokens({**body, "tools": [tool]}) > EMPTY + 100
