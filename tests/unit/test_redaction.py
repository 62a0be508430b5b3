"""What is personal is found, named and can be put back, in both languages; what names nobody stays as it is."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bot
from bot.redaction import KINDS, Finding, find, mask, redact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to anna.lee+shop@example.co.uk please", "write to [email] please"),
        ("call me on +49 30 901820 tomorrow", "call me on [phone] tomorrow"),
        ("(030) 901-820-44", "[phone]"),
        ("my number is 555-0123, or text 4471234", "my number is [phone], or text [phone]"),
        ("reach me at 415 555 2671 x12", "reach me at [phone]"),
        ("card 4111 1111 1111 1111 was charged", "card [card] was charged"),
        ("4111111111111111", "[card]"),
        ("card # 4111111111111111, phone #450 0840", "card # [card], phone #[phone]"),
        ("my card 4111 1111 1111 1112, one digit wrong", "my card [card], one digit wrong"),
        ("IBAN DE89 3704 0044 0532 0130 00", "IBAN [iban]"),
        ("refund to AT611904300234573201 from last week", "refund to [iban] from last week"),
        ("my iban: gb29 nwbk 6016 1331 9268 19 please", "my iban: [iban] please"),
        ("see https://example.com/a?b=c now", "see [url] now"),
        ("ssn 123-45-6789", "ssn [id]"),
        ("driver's license number D1234567", "driver's license number [id]"),
        ("passport no. C01X00T47", "passport no. [passport]"),
        ("blocked from 192.0.2.17 and 2001:db8::1", "blocked from [ip] and [ip]"),
        ("account number 12345678", "account number [account]"),
        ("send it to 12 High Street, London SW1A 1AA", "send it to [address]"),
        ("new address: 9 Mill Road, Cork. For order a1015", "new address: [address] For order a1015"),
        ("I live at 742 Evergreen Terrace, Springfield", "I live at [address]"),
        ("new address: Hauptstraße 14, 60313 Frankfurt", "new address: [address]"),
        ("P.O. Box 42, Dublin", "[address]"),
        ("my name is lena andersson and I want a refund", "my name is [person] and I want a refund"),
        ("Hi, this is Anna Weber from Berlin", "Hi, this is [person] from Berlin"),
        ("I spoke to Mr. Pálffy and to Mrs Lee", "I spoke to Mr. [person] and to Mrs [person]"),
        ("Where is it?\nKind regards,\nAnna Weber", "Where is it?\nKind regards,\n[person]"),
        ("Recipient: Jo de Vries, London", "Recipient: [person], London"),
        ("did Jennifer get the parcel for Piotr Kowalczyk?", "did [person] get the parcel for [person]?"),
        ("a courier took it from Grace Miller, says Nowakowski", "a courier took it from [person], says [person]"),
        ("Bence J. Gelencser from accounting told me", "[person] from accounting told me"),
        ("did priya sharma pay for it", "did [person] pay for it"),
        ("JOHN SMITH paid", "[person] paid"),
        ("Yefrem Dolan paid, Dolan's card was charged", "[person] paid, [person]'s card was charged"),
        ("bring it to 812 Zachary Cliffs, Springfield", "bring it to [address]"),
        ("we moved to Pivovarská 276.", "we moved to [address]."),
        ("the shop at Anna and Hersnapvej 75", "the shop at [address]"),
        ("the office is at Arenales 946, thanks", "the office is at [address], thanks"),
        ("leave it at mellemvej 32 please", "leave it at [address] please"),
        ("meet the driver at 12-14 High St, please", "meet the driver at [address], please"),
        ("a parcel for 123 1/2 Main St. came back", "a parcel for [address] came back"),
        ("we waited outside 9 Pond View for an hour", "we waited outside [address] for an hour"),
        ("write to RR 2 Box 45", "write to [address]"),
        ("all post goes via Private Bag 4, Auckland", "all post goes via [address]"),
        ("wir wohnen Am Markt 3 oder An der Alster 42", "wir wohnen [address] oder [address]"),
        ("is Karl-Marx-Str. 5 far", "is [address] far"),
        ("is Via Roma 12/A far", "is [address] far"),
        ("is Praça da República 10 far", "is [address] far"),
        ("is 3, allée des Tilleuls far", "is [address] far"),
        ("i am in 45 w 34th st. now", "i am in [address]. now"),
        ("the flat is 17 elm close, dublin", "the flat is [address]"),
        ("Well, unter den linden 77. right", "Well, [address]. right"),
        ("i work at 8 marine parade.", "i work at [address]."),
        ("we are at the corner of kuusiku 7 and alexander loop", "we are at [address]"),
        ("there was a crash on Martinez Lane", "there was a crash on [address]"),
        ("Inna Loop", "[address]"),
        ("mail a@b.org, Arenales 946, thanks", "mail [email], [address], thanks"),
        ("our founders: Kónya, Becker and Vasquez", "our founders: [person], [person] and [person]"),
        ("Torpy and Salinas signed it", "[person] and [person] signed it"),
        ("my manager Quinzia signed", "my manager [person] signed"),
        ("Jensen and Bosch disagree", "[person] and Bosch disagree"),
        ("my friend alex moved", "my friend [person] moved"),
        ("Please tell Glyceria that it broke", "Please tell [person] that it broke"),
        ("Cendrillon Coudert ordered it", "[person] ordered it"),
        ("it was signed for by Mark Rivers", "it was signed for by [person]"),
        ("eva kleist lives here", "[person] lives here"),
        ("did ana dias pay", "did [person] pay"),
        ("ask daniel janíček", "ask [person]"),
        ("085 175 7641-Office,3660170548-Fax", "[phone]-Office,[phone]-Fax"),
    ],
)
def test_personal_data_is_replaced(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我的邮箱是li.wei@example.com谢谢", "我的邮箱是[email]谢谢"),
        ("看https://example.com/a这个", "看[url]这个"),
        ("请打13812345678给我", "请打[phone]给我"),
        ("手机+86 138-1234-5678，座机010-86174847转12", "手机[phone]，座机[phone]转12"),
        ("１３８１２３４５６７８", "[phone]"),
        ("身份证11010519491231002X", "身份证[id]"),
        ("11010519491231002X，44030519600506428X", "[id]，[id]"),
        ("身份证号是110105194912310021，填错了一位", "身份证号是[id]，填错了一位"),
        ("护照号E12345678", "护照号[passport]"),
        ("车牌京A·12345和沪AD12345", "车牌[plate]和[plate]"),
        ("银行卡6222020200112233", "银行卡[card]"),
        ("加我QQ12345678或者微信abc_12345", "加我QQ[account]或者微信[account]"),
        ("寄到浙江省杭州市西湖区中山北路115号3栋201室，谢谢", "寄到[address]，谢谢"),
        ("地址改成成都市武侯区人民南路四段9号", "地址改成[address]"),
        ("送到人民路12号就行", "送到[address]就行"),
        ("你好，我叫王小明，订单没到", "你好，我叫[person]，订单没到"),
        ("收件人：欧阳娜娜 13812345678", "收件人：[person] [phone]"),
        ("收货人改成李雷", "收货人改成[person]"),
        ("我是张伟，昨天打过电话", "我是[person]，昨天打过电话"),
        ("麻烦转告陈丽女士", "麻烦转告[person]女士"),
        ("联系人李四，户名赵建国", "联系人[person]，户名[person]"),
        (
            "帮我查一下王小明的订单，收件人写错了，应该是李小雨",
            "帮我查一下[person]的订单，收件人写错了，应该是[person]",
        ),
        ("请找陈丽女士", "请找[person]女士"),
        ("王伟 13812345678", "[person] [phone]"),
        ("快递被孟晓燕签收了，孟晓燕是谁", "快递被[person]签收了，[person]是谁"),
        ("昨天客服李娜说可以退", "昨天客服[person]说可以退"),
        ("车主是慕容海，许宇要改地址", "车主是[person]，[person]要改地址"),
    ],
)
def test_personal_data_in_chinese_is_replaced(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "where is A-1042?",
        "order number 20481234, tracking no. 1Z999AA10123456784",
        "order #4111111111111111",
        "I ordered 3 lamps for 129.90 EUR",
        "since 2024",
        "between 2026-11-20 and 28.11.2026, at 10:30",
        "delivered on 12 March 2026, or 2 Oslo 45, 1 Bergen 60",
        "open 09.00-18.30 and 0900-1800, Monday to Friday",
        "it costs $1234567 or 1 299 000",
        "article 4006381333931, size 120-60-75 cm",
        "version 10.15.7.3 of the app",
        "ISBN 978-3-16-148410-0",
        "My name is misspelled on the invoice",
        "Call me back on Monday",
        "Dear Customer Service, thank you",
        "2 lamps on the street side of 5 windows",
        "I am from Berlin, Germany",
        "订单B77什么时候到",
        "订单号78717043512859778什么时候发货？",
        "快递单号SF6987056775148查不到物流",
        "满851.13减20，能不能打95折",
        "单子里的110105194912310021是什么",
        "型号A13737的保修期是多久",
        "2024年11月28日10:30之前能送到吗",
        "营业时间9:00-21:00",
        "客服热线400-820-8820打不通",
        "小王子这本书还有货吗",
        "我是金牌会员，方便吗",
        "快递员辛苦了，给米线，少给东西，顾客花钱是买服务",
        "我要买长安汽车的配件，王老吉也要",
        "我在北京市，小区里3个快递",
        "欧洲的订单走柏林发货吗，沙发是成品，60 元照收",
        "花生、桃花和水杯都没货，周年庆还有吗",
        "Will May be too late? Mark it as a gift, Grace period is over",
        "Does the Martin lamp work with Alexa, Siemens and a Bosch Home Connect?",
        "I paid with Klarna from Paris, Florence and Jordan",
        "Jackson Technologies and the Emma mattress",
        "set it to Windows 11 or Galaxy 24",
        "Customer Service told me Black Friday is over",
        "how do i track my order, it did not come in may",
        "Is a 500 gb hard drive and a lamp of the same row there?",
        "Do you have a shop on Oxford Street?",
        "your shops in Kuba and Lamovec",
        "have you got a 4000 K daylight bulb as well?",
        "500 points, 3 usb ports, please",
        "2 Garden Chairs and 4 Lake Tables at 8 today",
        "I paid in 2026 and in 12 Monthly rates",
        "Is there a lift at Lovell Lodge, at Yu Garden and at Martinez Mall?",
        "the Anna Road bike",
        "return to Page 5",
        "the courier called Monday, said Tuesday",
        "Lamps and Sofas, Bosch and Miele",
        "Dinner in Oslo and Trondheim",
        "max watts for a lamp, will smart bulbs work",
        "my facebook friend told me",
        "",
    ],
)
def test_what_names_nobody_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_questions_of_a_shops_customers_stay(language: str) -> None:
    """There are 8,925. Two in English name a person, one a post-office box and one a lake."""
    file = Path(bot.__file__).parent / "starter" / "answers" / f"{language}.jsonl"
    questions = [json.loads(line)["question"] for line in file.read_text(encoding="utf-8").splitlines()]
    named = [question for question in questions if any(each.kind == "person" for each in find(question))]
    assert len(questions) > 4_000
    assert len(named) <= 2, named
    placed = [question for question in questions if any(each.kind == "address" for each in find(question))]
    assert len(placed) <= 2, placed


def test_findings_name_kind_and_place() -> None:
    assert find("mail a@b.org, call +49 30 901820") == [
        Finding(kind="email", start=5, end=12),
        Finding(kind="phone", start=19, end=32),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_placeholder_is_no_finding(kind: str) -> None:
    assert find(f"my name is [{kind}], call [{kind}_12]") == []


def test_what_was_taken_out_is_put_back_into_a_reply() -> None:
    masked = mask("My name is Anna Weber, mail anna@example.com", "anna@example.com is wrong, bob@example.com is right")
    assert masked.texts == ("My name is [person_1], mail [email_1]", "[email_1] is wrong, [email_2] is right")
    reply = "Dear [person_1], we write to [email_2] and to [email_9], [phone_1]."
    assert masked.restore(reply) == "Dear Anna Weber, we write to bob@example.com and to [email_9], [phone_1]."


def test_a_placeholder_that_a_customer_typed_is_not_ours() -> None:
    masked = mask("what is [email_1]? mine is anna@example.com", "and [email_2], [phone]?")
    assert masked.texts == ("what is [email_1]? mine is [email_3]", "and [email_2], [phone]?")
    assert masked.restore("[email_1] [email_2] [email_3]") == "[email_1] [email_2] anna@example.com"


PERSONAL = ("a@b.org", "https://a.b/c", "+49 30 901820", "13812345678", "4111 1111 1111 1111", "192.0.2.1", "王小明")
ADDRESSES = ("杭州市西湖区中山北路115号", "12 High Street, London", "Anna Weber")
CUES = ("my name is ", "Mr. ", "我叫", "收件人：", "call ", "QQ", "order ", "card ")
PLACEHOLDERS = ("[email]", "[email_1]", "[phone_2]", "[", "]", "email", "_1", "\ufffc")
PARTS = st.sampled_from([*PERSONAL, *ADDRESSES, *CUES, *PLACEHOLDERS, "\n", ", ", " "])
TEXTS = st.one_of(st.text(max_size=200), st.lists(PARTS, max_size=12).map("".join))


@given(TEXTS)
def test_redacting_twice_is_redacting_once(text: str) -> None:
    once = redact(text)
    assert find(once) == []
    assert redact(once) == once


@given(st.lists(TEXTS, max_size=3))
def test_masked_texts_are_restored(texts: list[str]) -> None:
    masked = mask(*texts)
    assert [masked.restore(text) for text in masked.texts] == texts
    assert all(find(text) == [] for text in masked.texts)


@given(TEXTS)
def test_findings_lie_in_order_inside_the_text(text: str) -> None:
    places = [(finding.start, finding.end) for finding in find(text)]
    assert all(start < end for start, end in places)
    assert all(one[1] <= other[0] for one, other in pairwise(places))


@given(st.from_regex(r"[a-z]{1,8}@[a-z]{2,8}\.(com|de|cn)", fullmatch=True), st.text(alphabet="我的 ab,", max_size=10))
def test_no_mail_address_survives(address: str, around: str) -> None:
    assert address not in redact(f"{around} {address} {around}")
