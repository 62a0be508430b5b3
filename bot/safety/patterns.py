"""The patterns: kind → what the text does, in words → regular expressions, English and Chinese.

They read texts as `readings.plain` gives them: lower case, straight quotes, one blank. Add a look-alike to
tests/safety_phrases.py with every pattern: what is harmless and nearly says the same.

No message of the length that is read makes a search slow: what repeats is words of short lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Kind = Literal["self_harm", "others_data", "injection", "legal_threat", "toxic"]
"""In the order in which they count where a text is of several.

self_harm: somebody may hurt themselves, or has
others_data: wants what belongs to other customers
injection: instructs whoever answers, or asks for its instructions
legal_threat: threatens with a court, a lawyer or an authority
toxic: insults or threatens whoever reads it
"""

Patterns = Mapping[str, tuple[str, ...]]


def _words(most: int) -> str:
    """At most so many words between two others."""
    return rf"(?:\W{{1,3}}[\w'-]{{1,24}}){{0,{most}}}?\W{{1,3}}"


# ---- self-harm ----

_SELF = r"(?:my|him|her|them)[ -]?sel(?:f|ves)"
_WANT = (
    r"(?<!n't )(?<!not )(?<!never )(?:want|wants|wanted|wanna|wish|wishes|going|gonna|plan|planning|ready|decided|like)"
)
_SELF_HARM: Patterns = {
    "speaks of suicide": (
        rf"(?<!could )(?<!could have )(?<!could've )\bkill(?:ing|ed|s)? {_SELF}\b",
        r"\b(?:i|i'm|im|me|my|he|she|he's|she's|they)\b[^.!?\n]{0,40}(?<!not )\bsuicid(?:e|al)\b(?! squad)",
        r"\b(?:thinking|thoughts?|think|thought) (?:about|of) suicide\b|"
        r"\bsuicid(?:e|al) (?:thoughts?|hotline|helpline|prevention|note)|\b(?:commit|attempt)(?:s|ed|ing)? suicide",
        r"\b(?:end|ending|take|taking|took) (?:my|his|her|their) (?:own )?li(?:fe|ves)\b(?! savings)",
        r"\bend(?:ing)? it (?:all|tonight)\b|\bunalive\b|\bhang(?:ing|ed)? (?:my|him|her)self\b",
        r"\b(?:jump(?:ing|ed)?|throw(?:ing)? (?:my|him|her)self) (?:off|from|in front of) (?:a|an|the|this|my) "
        r"(?:bridge|roof|building|balcony|train|window|cliff)",
        r"(?<!什么是)(?<!不是想)(?<!没想)(?<!没有想)(?<!不会)自[杀殺](?!小队|突击队|式|率|是什么|什么意思)",
        r"[轻輕]生(?!态)|[寻尋](?:短[见見]|死)|自[尽盡](?!力|量|情|职)|自我了断|了断自己|[结結]束(?:自己|我)?的?(?:生命|一切|这一切)",
        r"(?:想|要|去|就|再)上吊(?!灯|燈|顶|着|扇)|跳[楼樓](?!价|價|大|甩|清|机|特)|卧轨|(?:想|要|去)跳(?:河|江|桥)|跳下去(?:算|一|死)|"
        r"(?:想|要|叫我|让我)(?:着)?(?:从.{0,6})?(?<!猫)跳下去",
        r"[离離][开開](?:这个|這個)(?:世界|人世)|一了百了|[遗遺][书書]",
    ),
    "does not want to live": (
        rf"\b{_WANT}(?: to| i| i'd| that i| he| she| was| were| could| just| be)* (?:die|dead)\b"
        r"(?! (?:laughing|of|for|from|trying|hard|down|out|cut))",
        r"\b(?:don't|dont|do not|doesn't|does not|no longer)(?: really| even)? (?:want|wanna|wish|wants)(?: to)? "
        r"(?:live|be alive|exist|wake up|(?:be here|go on|carry on|live like this)(?= any ?more| any "
        r"?longer))(?! in\b| on\b| with\b| near\b)",
        r"\b(?:no|any|a|the) (?:reason|point|sense|will) (?:to|in|of) (?:go(?:ing)? on |keep )?(?:liv(?:e|"
        r"ing)|being alive|stay(?:ing)? alive)",
        r"\blife (?:is|isn't|is not|just isn't)(?: not)?(?: worth (?:it|living)| pointless)|\b(?:tired|sick) "
        r"of (?:living|life|being alive)\b",
        r"\bbetter off (?:dead\b|without me\b(?!,? (?:as|being)))|\b(?:nobody|no ?one) (?:needs me|would miss me)",
        r"\b(?:want|wish|hope).{0,12} (?:it|everything|my life)(?: all)? to (?:be over|end)\b|\bdisappear forever\b",
        r"\bvoices?\b.{0,16} (?:tells?|telling|told) me to (?:jump|die|kill|hurt)|\bgoodbye (?:letter|note)",
        r"(?<![不没沒])(?<!笑)想死(?!你|您|他|她|它|我|心|磕|机|這|这|了你|了我|了这)|[还還]不如死|死了算了|生[无無]可[恋戀]",
        r"不想(?:再|继续|這樣|这样)?活(?!动|動|跃|性|页|扣|儿)|活(?:不下去|[够夠]了)|我.{0,4}(?:撑|撐|熬)不下去",
        r"活(?:着|著|下去).{0,3}(?:[没沒](?:有)?|有什么|还有什么)(?:什么)?(?:意思|意[义義]|用)|(?:找不到|[没沒]有).{0,2}活(?:着|下去)的",
        r"[没沒](?:有)?我.{0,8}(?:更好|会好|就好了)|[没沒](?:有)?人(?:需要|在乎)我|想(?:要)?(?:永远消失|解脱)|人生不值得",
    ),
    "has hurt themselves or has the means": (
        r"\bself[- ]?harm(?:s|ed|ing)?\b(?!.{0,20}polic)",
        r"(?:been|keep|started|stop|want to|feel like|urge to|going to|thinking of|thinking about) (?:hurt|"
        r"harm|cut)(?:ting|ing)? "
        rf"{_SELF}(?! (?:on|with|while|when|by|off|out|installing|trying|a|some|badly on)\b)",
        r"\b(?:cut|cuts|cutting|slit|slitting|slashed) (?:my|his|her|their) (?:wrists?|veins?|arms? again)",
        r"\b(?:overdosed?|overdosing)\b|\benough (?:pills|tablets)\b.{0,20} (?:finish|end|die|do it)",
        r"\b(?:take|took|taken|taking|swallow|swallowed) (?:all|a whole|the whole|too many|\d{1,3}|forty|"
        r"fifty|sixty|thirty)\b[^.!?\n]{0,24}"
        r"\b(?:pills|tablets|paracetamol|ibuprofen)\b",
        r"\b(?:pills|tablets)\b[^.!?\n]{0,30}\btake them all\b",
        r"自[残殘](?!疾)|割(?:了)?(?:自己的?)?(?:手)?[腕脉脈](?!表|带)|(?<!不)(?<!不会)(?<!没)(?<!没有)(?:想|要|忍不住|一直|总是?|又)[伤傷]害自己",
        r"(?:一大?把|整[瓶盒]|[攒攢存][够夠]).{0,4}[药藥]|(?:吃|吞|服)了?.{0,6}安眠[药藥]|[药藥].{0,4}都(?:吃|吞)(?:下去|了|光)",
    ),
}  # fmt: skip

# ---- what belongs to others ----

_SHOW = (
    r"\b(?:show|tell|give|list|send|dump|export|output|reveal|leak|print|read|look up|find|check|see|access|get|"
    r"collect|forward|email|e-mail|download|display|share|pull up|fetch|need|want|know)"
)
_CUSTOMERS = r"(?:customers?|clients?|users?|buyers?|shoppers?|people|persons?)"
_THEIR = (
    r"(?:(?:personal|private|full|home|delivery|shipping|billing|e-?mail|phone|order|contact|credit|card|bank|latest|"
    r"last|recent|purchase|payment|saved) ){0,3}"
    r"(?:data(?:base)?|details|info(?:rmation)?|orders?|address(?:es)?|e-?mails?|phones?|numbers?|names|accounts?|"
    r"history|histories|lists?|records?|cards?|passwords?|purchases?|invoices?)\b"
)
_ZH_SHOW = (
    r"(?:查(?:一下|看|询|詢|到)?|看(?:看|一下|到)?|[给給]我|告[诉訴]我|[发發][给給]?我|[导導]出|列出|提供|透露|泄露|知道|[获獲]取|拿到|[调調]出|"
    r"[显顯]示|[说說](?:说|一下)?|要|登[录錄]|改|修改|取消)"
)
_ZH_OTHERS = (
    r"(?:[别別]人|他人|陌生人|(?:[别別]的|其他|其它|另(?:外)?一[个個位名]|所有|全部|任意|任何|某[个個位]|上一[个個位]|下一[个個位])(?:的)?"
    r"(?:人|客[户戶]|[顾顧]客|用[户戶]|[买買]家|[会會][员員])|你们的?(?:客[户戶]|用[户戶]))"
)
_ZH_THEIR = (
    r"(?:[个個]人|[详詳][细細]|收[货貨]|家庭|[联聯][系繫])?(?:[订訂][单單]|地址|[电電][话話]|手[机機][号號]?|[邮郵]箱|姓名|名[单單]|[资資]料|信息|[数數][据據]|"
    r"[账賬][号號户]|密[码碼]|[购購消][买買费費][记記][录錄]|[隐隱]私|方式|物流|列表|[买買]了什[么麼])"
)
_OTHERS_DATA: Patterns = {
    "asks for the data of other customers": (
        rf"{_SHOW}{_words(4)}(?:(?:the |all )?(?:other|another|every|all(?: of)?(?: the| your)?|any other|"
        r"random|previous|next|different|your) )"
        rf"{_CUSTOMERS}(?:'s|s')? {_THEIR}",
        rf"\b(?:what|which)(?: is| are|'s| was) (?:the )?(?:other|another|the previous|the next|the last) {_CUSTOMERS}"
        rf"(?:'s|s')? {_THEIR}",
        rf"{_SHOW}{_words(4)}{_THEIR}(?: \w{{1,12}}){{0,2}}? (?:of|belonging to|placed by) "
        r"(?:all |your |the |any |every )*(?:other|another|all|every|previous|different|your) (?:of |the |"
        rf"your )*{_CUSTOMERS}",
        rf"{_ZH_SHOW}.{{0,6}}{_ZH_OTHERS}的?{_ZH_THEIR}",
        rf"(?:把|将|將){_ZH_OTHERS}的?{_ZH_THEIR}.{{0,8}}(?:[给給发發]|[导導]出|列出|打印)",
    ),
    "asks for the list of customers": (
        rf"(?<!do you )(?:{_SHOW}|\boutput|\bdump){_words(5)}(?:customer|client|user) (?:list|database|"
        r"records|emails|e-mails|names|data)\b"
        r"(?! (?:policy|protection|form))",
        r"(?:[导導]出|列出|[发發][给給]?我|[给給]我|下[载載]|打印).{0,8}(?:客[户戶]|用[户戶]|[顾顧]客|"
        r"[会會][员員])的?(?:名[单單]|列表|[数數][据據]库?|[资資]料|信息|[邮郵]箱|手机号)",
    ),
    "asks for somebody else's": (
        r"\b(?:show|tell|give|look up|find|check|see|access|read|open|pull up|what(?:'s| is| was| are))(?: "
        r"me| out)?(?: about| in| into)?(?: the| all| all the)? "
        r"(?:some ?(?:one|body) else|another person|a stranger|other people|my (?:ex(?:[- ](?:wife|husband|"
        rf"boyfriend|girlfriend|partner))?|neighbou?r|boss|colleague|co-?worker))'?s? {_THEIR}",
        r"\bwhat (?:did|has|have) (?:my (?:ex(?:[- ]\w{1,12})?|neighbou?r|boss|colleague|co-?worker)|some "
        r"?(?:one|body) else|the (?:other|previous|next) customer) (?:order|buy|bought|ordered)",
        r"\bwho (?:else )?(?:bought|ordered|placed) (?:this|that|the) order|\b(?:who lives at|whose order is) ",
        rf"{_ZH_SHOW}.{{0,6}}(?:前(?:男友|女友|夫|妻|任)|[邻鄰]居|同事|老板|老闆)的?(?:最近)?{_ZH_THEIR}",
        r"(?:前(?:男友|女友|夫|妻|任)|[邻鄰]居|同事|老板|[别別]人)(?:最近|都)?(?:在你们)?(?:[买買]|下|[订訂])(?:了|過|过)(?:什[么麼]|哪些|啥)",
    ),
}  # fmt: skip

# ---- instructions to whoever answers ----

_DROP = (
    r"\b(?:ignor(?:e|es|ed|ing)|disregard(?:ing|s)?|forget(?:ting)?|overrid(?:e|es|ing)|bypass(?:ing)?|neglect|"
    r"circumvent|violate|skip|drop|erase|abandon|not follow|stop following|break free (?:of|from))"
)
_ORDERS = (
    r"(?:instructions?|prompts?|directives?|guidelines?|rules|programming|restrictions|safeguards|commands|"
    r"polic(?:y|ies)|safety checks)\b"
)
_EARLIER = r"(?:previous|prior|above|earlier|preceding|system|original|existing|developer|user's|operator's)"
_UNBOUND = (
    r"(?:no|without(?: any)?|free (?:of|from)(?: any| all| the)?|not (?:bound|limited|restricted|constrained) "
    r"by(?: any| the)?|"
    r"does not have|do not have|don't have|doesn't have)(?: \w{1,16}){0,3} "
    r"(?:restrictions?|filters?|limits?|limitations?|rules|content polic(?:y|ies)|censorship|morals?|ethics|"
    r"guidelines|boundaries)"
)
_ZH_DROP = (
    r"(?:忽略|[无無][视視]|忘[记掉了]|忘記|不要(?:理[会會]|遵守|管)|不用(?:管|遵守)|[别別](?:管|理)|跳[过過]|[绕繞][过過]|"
    r"推翻|解除|抛[开開]|丢掉|[违違]反|清空|覆[盖蓋])"
)
_ZH_ORDERS = (
    r"(?:指令|指示|提示[词詞]?|[规規][则則]|[设設]定|限制|[约約]束|命令|准[则則]|[对對][话話]|"
    r"安全(?:[检檢]查|策略|协议))"
)
_INJECTION: Patterns = {
    "sets earlier instructions aside": (
        rf"{_DROP}{_words(3)}{_EARLIER}(?:(?: and|,)? \w{{1,12}}){{0,3}}? (?:{_ORDERS}|inputs?\b|messages\b|"
        r"context\b|conversation\b|task\b|text\b|training\b)",
        rf"{_DROP} (?:all |any |your |these |those |my )*(?:of (?:the|your|these|those) )?(?:instructions?|"
        r"prompts?|directives?|programming)\b",
        r"\bnew instructions? ?: ?(?:you|ignore|from now|forget|disregard|the assistant)|\byour new "
        r"(?:instructions?|directives?)\b|\b(?:instructions?|directives?) (?:supersedes?|overrides?)\b",
        rf"{_ZH_DROP}.{{0,4}}(?:你|您|所有|一切|全部|之前|先前|以上|上面|上述|前面|任何|原(?:有|来|先)|系[统統]|[这這那]些|安全).{{0,8}}{_ZH_ORDERS}",
        rf"{_ZH_DROP}(?:以上|之前|上面|前面)的?(?:所有|一切|全部)?(?:内容|文字|[话話]|信息)",
        r"新的?(?:指令|系[统統]提示):|你的新(?:指令|[规規][则則]|任[务務])",
        # German, French, Spanish and Italian
        r"\b(?:ignor(?:a|ad|ar|ate|ez|iere?n?)|oublie[zr]?|olvid(?:a|ad|ate)|vergiss|dimentic(?:a|ate))\b[^.!?\n]{0,40}"
        r"\b(?:instru[ck]|istruzion|anweisung|regeln|richtlinien|reglas|regole|règles)",
    ),
    "sets rules aside": (
        rf"{_DROP}{_words(6)}(?<!delivery )(?<!washing )(?<!care )(?<!shipping )(?<!assembly ){_ORDERS}",
        rf"{_DROP} (?:all |everything|anything|what)(?: of)?(?: that| which)?(?: is| was| were| has been| "
        rf"you)?(?: \w{{1,10}}){{0,4}} ?"
        r"\b(?:above|before|previous|prior|told|said|learned|know)\b",
        r"\byour new (?:task|role|rules)\b|新(?:的)?(?:[规規][则則]|任[务務]):",
    ),
    "asks for the instructions": (
        r"\bsystem[- ]?(?:prompt|message|instructions?)\b|\bdeveloper (?:message|prompt|instructions)\b|"
        r"\bhidden (?:prompt|instructions|rules)\b",
        r"\b(?:your|the) (?:initial|original|secret|internal|exact|hidden|underlying) (?:instructions?|prompt|"
        r"rules|guidelines)\b",
        rf"{_ORDERS} (?:that )?(?:you|your) (?:were|have been|developers?) (?:\w{{1,8}} )?(?:given|told|gave|"
        r"following)",
        r"\b(?:repeat|print|output|reveal|show|echo|copy|translate|summari[sz]e)\b[^.!?\n]{0,24} (?:words|"
        r"text|everything|all|content|lines|conversation) above\b",
        r"\b(?:reveal|print|repeat|output|leak|show me|tell me|what (?:is|are)) your (?:prompt|configuration|"
        r"system|programming|instructions (?:word|verbatim|above|exactly)|rules word)",
        r"\beverything in your context\b|\bstarting with ['\"]?you are\b|\b(?:which|what) (?:language )?model "
        r"are you (?:based|running) on",
        r"系[统統](?:的)?(?:提示[词詞]?|指令)|提示[词詞]|(?:初始|[隐隱]藏|原始|内部|最初)的?(?:指令|提示|[设設]定|[规規][则則])",
        r"(?:[输輸]出|打印|复述|複述|重复|重複|泄露|透露|告[诉訴]我|[显顯]示|[给給]我看|"
        r"[说說]出).{0,6}你(?:的|被|收到|得到)(?:[设設]定|指令|[规規][则則]|被?[给給]?的?指示|[配][置])",
        r"(?:重复|重複|复述|[输輸]出|翻译|打印).{0,6}(?:上面|以上|前面)的?(?:所有|全部)?(?:内容|文字|[话話]|指令|[对對][话話])|"
        r"[把将將](?:上面|以上|前面)的?(?:所有|全部)?(?:内容|文字|[话話]|指令|[对對][话話]).{0,6}(?:重复|重複|复述|[输輸]出|翻译|打印)",
    ),
    "gives it another part to play": (
        r"\bdo anything now\b|\bjailbr(?:eak|oken)|\b(?:developer|dev|god|debug(?:ging)?|admin|dan|"
        r"unrestricted|maintenance|sudo) mode\b|\bpersona\b",
        r"\b(?:you(?:'re| are| will| can| must| have)?|act|behave|answer|respond|reply|pretend|model|ai|"
        rf"assistant|it|he|she|mode)\b[^.!?\n]{{0,60}}\b{_UNBOUND}",
        r"\b(?:from now on|from this (?:point|moment) (?:on|forward|onwards?)|henceforth),? (?:you|your|act|"
        r"answer|respond|reply|always|only|i want you)\b",
        r"\byou(?:'re| are| will) (?:now|no longer|going to|about to) (?:a |an |the |be |act |immerse |play |"
        r"pose |pretend |simulate |roleplay |in |under |free|dan\b|un|chat|windows|\"|')",
        r"\b(?:i (?:want|need)|i'd like|i would like)(?: for)? you to (?:act|play|pretend|behave|role ?-?play|"
        r"simulate|respond as|become|imagine|be an?)\b",
        r"\b(?:pretend|imagine|suppose|assume)(?: that)? (?:to be|to have|you are|you're|you were|the (?:role|"
        r"persona|character))\b(?! (?:a (?:new )?customer|in my))",
        r"\b(?:role ?-?play|immerse yourself|play the (?:role|part) of|take on the (?:role|persona)|in the "
        r"(?:role|voice) of)\b|(?:^|[.!?] )(?:please |hello,? |hi,? )?act (?:as|like)\b(?! an? friendly| a "
        r"gift)",
        r"\b(?:uncensored|unfiltered|amoral)\b|\b(?:illegal|immoral|unethical)\b[^.!?\n]{0,30}\b(?:illegal|"
        r"immoral|unethical)\b|\bnever (?:refuses?|break character|say no)\b",
        r"\b(?:stay|remain|break(?:ing)?) (?:in )?character\b|\b(?:fictional|evil) (?:character|ai|chatbot|"
        r"entity)\b|\bcharacter (?:called|named)\b|\brespond as (?:such|two)\b",
        r"\bchat ?gpt\b(?=[^?\n]{12})|\bopenai\b|\bsimulat(?:e|ing) (?:a|an|another|being|"
        r"the|two)\b|\bopposite day\b|\bawait(?:ing)? \W?input\b",
        r"\b(?:char|character|persona|scenario|user) ?(?:name|description)?\)? ?[=:] ?[\[\"'{<(]|\{\{(?:char|"
        r"user)\}\}|\[(?:start|system|ooc|scenario)\b",
        r"越[狱獄]|[开開][发發](?:者|人[员員])模式|[无無]限制模式|上帝模式|[调調][试試]模式|管理[员員]模式|"
        r"dan ?模式",
        r"(?:假[装裝]|[扮][演]|假[设設]|想象)(?:你|自己)?(?:是|成|一[个個位名])|角色扮演|"
        r"你(?:[将將])?(?:要)?扮演|(?:[从從])?(?:[现現]在|今)(?:[开開]始|起|往后|以后),? ?你(?!们)",
        r"你[现現]在是(?:一[个個位名]|不|没|[无無])|你(?:不再是|已经?是)(?:一[个個位名])?.{0,8}(?:客服|助手|机器人|ai)|充[当當](?:一[个個位名])",
        r"你.{0,12}(?:[没沒]有|不受|[无無]).{0,4}(?:任何|一切)?的?(?:限制|[约約]束|[规規][则則]|道德|[审審]查|[过過][滤濾])",
    ),
    "claims authority": (
        r"\bi(?:'m| am) (?:the |an? |your |one of your )?(?:system |site |shop )?(?:admin(?:istrator)?|"
        r"developer|programmer|creator|engineer)\b|\bthis is (?:the |your )(?:admin|developer)",
        r"\b(?:safety|security|content)(?: \w{1,12})? (?:protocols?|checks?|filters?|measures?|guidelines?|"
        r"rules|polic(?:y|ies))\b[^.!?\n]{0,24}"
        r"\b(?:disabled|off|lifted|suspended|not apply|don't apply|not meant|were not|do not)\b",
        r"\b(?:disable|turn off|disregard|deactivate|remove|without|skip)(?: \w{1,12}){0,3} (?:safety|content|"
        r"moderation|security) (?:\w{1,12} )?(?:protocols?|checks?|filters?|measures|guidelines?|polic(?:y|"
        r"ies))",
        r"\b(?:user|customer) (?:is an? (?:admin|administrator)|(?:is|has been) (?:clearly |fully "
        r")?(?:authori[sz]ed|verified)|has granted permission)|\bgrant (?:this |the )?(?:user|all)\b",
        r"\b(?:exempt from|restricted content|unrestricted (?:response|mode|answer|ai|assistant|model))\b",
        r"(?:我(?:就)?是|作[为為])(?:你们?的?|[这這][个個]?机器人的)?(?:系[统統]|[超][级級]|店[铺鋪]|后台|平台)?(?:管理[员員]|[开開][发發](?:者|人[员員])|工程[师師]|程序[员員]|老[板闆])",
        r"安全(?:[协協][议議]|限制|[检檢]查|[过過][滤濾]|策略|机制)(?:[现現]在|都|已(?:[经經])?|全部)?(?:被)?(?:[关關][闭閉]|解除|停用|取消|失效)",
    ),
    "imitates the system": (
        r"<\|[\w ]{1,20}\|>|\[/?(?:inst|system|sys)\]|<</?sys>>|^\W{0,6}(?:system|developer)(?: (?:note|"
        r"message|update|prompt|override|notice)) ?:",
        r"\bsystem ?: ?(?:you|the user|grant|ignore|from now|new|override|cleanup)\b|^\W{0,6}assistant ?: "
        r"?(?:sure|here|i|of course)\b|\bsystem (?:override|note)\b|\b(?:important|urgent) system\b",
        r"\bend of (?:the )?(?:user input|user|document|prompt|system|instructions?|context) ?(?:-{2,}|#{2,}|"
        r"\]|>)|\bend of user input\b|#{2,} ?(?:system|new instructions?)\b",
        r"^\W{0,6}(?:系[统統]|[开開][发發]者)(?:提示|消息|通知|更新)? ?:",
    ),
    "speaks to a machine": (
        r"\b(?:decode|decipher|decrypt|translate|unscramble|read|convert)\b[^\n]{0,60}\b(?:base ?\d\d|rot ?13|"
        r"hex(?:adecimal)?|binary|morse|cipher|caesar|encoded)\b"
        r"[^\n]{0,60}\b(?:follow|execute|do (?:exactly )?what|obey|carry out|command|instructions?|comply)\b",
        r"\b(?:base ?\d\d|rot ?13|hex|binary|morse|cipher) ?(?:encoded)?\b[^\n]{0,40}\b(?:decode|decipher|"
        r"decrypt)\b[^\n]{0,40}\b(?:follow|execute|do |obey|instructions?)",
        r"(?:base ?\d\d|rot ?13|十六[进進]制|二[进進]制|摩[尔斯爾]{1,2}[电電]?[码碼]|[编編][码碼]|密文|"
        r"解[码碼]|解密).{0,30}(?:[执執]行|照做|按照?.{0,8}做|遵循|指令)",
        r"\b(?:append|add|include|insert|output|print|repeat)\b[^.!?\n]{0,60}\b(?:(?:every|each|all|any)(?: "
        r"future)?(?: \w{1,12})?|end of (?:your|the|each|every)|(?:in|to|of|with) your) (?:reply|replies|"
        r"answers?|responses?|summar(?:y|ies)|reports?|output|review)\b",
        r"\b(?:note|notice|message|instructions?)(?: to| for)(?: any| the| all)? (?:ai|bots?|assistants?|"
        r"chatbots?|(?:language )?models?|llms?)\b|\b(?:ai|assistant|bot)s? (?:agents? |system )?(?:reading|"
        r"processing|reviewing|integrating) this\b",
        r"\bif you are an? (?:ai|language model|llm)|\bfor ai (?:coding )?agents\b|\byour long-term memory\b|"
        r"\b(?:save|keep) (?:this|the following)(?: \w{1,12})? to (?:your )?memory\b",
        r"\bcall (?:\w{1,12}_\w{1,12})\b|\buse (?:send_email|http_post)\b|\bprint(?:ing)? the full system\b",
        r"(?:每|所有)[次条條个個]?.{0,4}(?:回[复復答]|答[复復]).{0,8}(?:加上|包含|附上|末尾|[开開]头|都要|"
        r"必[须須])|(?:回[复復答])(?:的)?(?:末尾|[结結]尾|最后|[开開]头).{0,6}(?:加上|附上|[输輸]出|写)",
        r"(?:[给給]|致|[写寫][给給])(?:ai|人工智能|智能|机器人|大?模型|助手)(?:助手)?的?(?:指令|提示|[说說]明|"
        r"[备備]注)|(?:如果|若)你是(?:一[个個])?(?:ai|人工智能|语言模型|机器人)",
    ),
    "demands obedience or secrets": (
        r"\b(?:reveal|leak|dump|print|show|list|send|forward|output|collect|tell me)\b[^.!?\n]{0,30}\b(?:api "
        r"keys?|credentials|environment variables|admin password|internal (?:configuration|data)|access "
        r"tokens?|source code)\b",
        r"\byou (?:must|will|have to) (?:comply|obey|always (?:answer|respond|comply))\b|\bcomply with "
        r"(?:every|all|any|the following)\b|\b(?:begin|start) (?:your|every|each) (?:reply|response|answer)s? "
        r"with\b",
        r"\banswer (?:any|every)(?: \w{1,12})? (?:without|freely)|\bno (?:disclaimers?|warnings?),? (?:just|"
        r"only|no)\b|\breal task is\b|\bas if you (?:have|had) no\b",
        r"\badmin(?:istrator)? (?:pages?|password|access|panel)\b|(?:管理[员員]|后台)(?:密[码碼]|[权權]限)",
        r"\b(?:reply|respond|answer|output|say) (?:only|exactly|just)\b|\bonly (?:reply|respond|answer|output)\b",
        r"[无無]条件(?:服[从從]|[执執]行|回答)|命令你|只(?:能|需|要)?(?:回[复復答]|[输輸]出)|(?:[测測][试試]|[维維][护護])模式|并照做|"
        r"[须須]遵守(?:新|以下|下列)",
        r"必[须須](?:[无無]条件)?(?:服[从從]|遵守我|[执執]行我|[听聽]我|回答(?:所有|任何|一切))",
    ),
}  # fmt: skip
ADDRESSED_TO_A_READER = frozenset(
    {"sets earlier instructions aside", "asks for the instructions", "imitates the system", "speaks to a machine"}
)
"""What no page for customers says: the others may well stand in terms and conditions, or in a play."""

# ---- legal threats ----

_LEGAL_THREAT: Patterns = {
    "threatens with a court": (
        r"\b(?:i'll|i will|we'll|we will|i'm|i am|going to|gonna|want to|have to|ready to|to|and|could|can|"
        r"may|might|shall|should|be|thinking (?:of|about)) su(?:e|ing) "
        r"(?:you|your|the (?:company|shop|store|seller|lot)|this (?:company|shop|store)|lantern|them|all of)\b",
        r"\b(?:see|meet) you (?:all )?in court\b|\btak(?:e|ing) (?:you|this|your (?:company|shop|store)|the "
        r"(?:matter|case|company)|it)(?: all| lot| guys)? to (?:court|the courts|a (?:judge|tribunal)|small "
        r"claims)\b",
        r"\b(?:take|taking|threaten|start|starting|begin|initiate|pursue|pursuing|consider|considering|"
        r"prepar(?:e|ing)|seek|seeking|facing|face|forced into) (?:\w{1,12} )?legal (?:action|proceedings|"
        r"steps|measures|consequences|remedies|advice)",
        r"\bfil(?:e|ing) (?:a |an )?(?:lawsuit|police report|criminal complaint|legal complaint|class action|"
        r"charges|suit)\b|\bpress(?:ing)? charges\b|\bsmall claims\b|\b(?:a|my) lawsuit\b",
        r"(?<!被)起[诉訴](?:你|贵|貴|商家|店|到底|[了吧]|$|[,。!])|(?:要|[会會]|去|准备|準備|打算|一定|必须|"
        r"直接)(?:起[诉訴]|(?:到)?法院|打官司|走法律|走司法|上法庭)|法(?:院|庭)上?[见見]|打官司(?!的书|剧)",
        r"(?:要|[会會]|去|准备|打算|一定|直接)告(?:你|贵|貴|商家)(?!一声|一聲)|走?法律(?:途[径徑]|程序|手段)|追究.{0,8}(?:法律)?[责責]任|(?:诉诸|通过)法律",
    ),
    "threatens with a lawyer": (
        r"\b(?:hear|hearing) from (?:my|our|a) (?:lawyers?|solicitors?|attorneys?|legal team)|\b(?:my|our) "
        r"(?:lawyers?|solicitors?|attorneys?|legal team) (?:will|is going|'ll|has|have|says?|already)\b(?! "
        r"(?:ordered|bought|the same))",
        r"\b(?:contact|call|get|hire|hiring|involve|instruct|talk to|speak to|speak with|consult|bring in|go "
        r"to|going to|contacted|hired|hand this to|pass this to)(?:ing)? (?:my|a|our|the) (?:lawyers?|"
        r"solicitors?|attorneys?)\b(?!'s)",
        r"(?:找|请|請|委托|[联聯]系|[让讓]).{0,2}律[师師](?!事务所的?灯)|律[师師][函信]|我的?律[师師](?!事务所|朋友|送|也|要|想|办)",
    ),
    "threatens with an authority": (
        r"\breport(?:ing|ed)? (?:you|this|your (?:company|shop|store)|the (?:company|shop|store|matter)|"
        r"it)(?: all| guys)? to (?:the )?(?:police|authorit(?:y|ies)|trading standards|consumer|ombudsman|"
        r"bbb\b|better business|ftc|regulator|government|attorney)",
        r"\b(?:go|going|complain|complaining|complaint|turn|write|writing) (?:\w{1,12} )?(?:to|with) (?:the "
        r")?(?:police|trading standards|consumer (?:protection|advice|rights|council|association|cent(?:re|"
        r"er))|ombudsman|better business bureau)",
        r"\bcall(?:ing)? the (?:police|cops) on you\b",
        r"12315(?!.{0,8}[撤消])|(?:消[费費]者[协協][会會]|消[协協]|工商局?|市[场場][监監](?:管)?(?:局|"
        r"[总總]局)?|消保委).{0,4}(?:投[诉訴]|举报|舉報|告|[见見]|反映|$|[了吧,。!])|"
        r"(?:投[诉訴]|举报|舉報|告|反映)(?:到|去|给|給|你们到).{0,2}(?:消[费費]者|消[协協]|工商|市[场場][监監]|有关部门|相关部门|监管)",
        r"(?:要|[会會]|去|准备|马上|直接|就|已[经經])[报報]警(?!器|[灯燈]|[声聲]|系|装置|吗|嗎)|315(?:曝光|投[诉訴]|[见見])",
    ),
}  # fmt: skip

# ---- abuse ----

_INSULT = (
    r"(?:idiots?|morons?|imbeciles?|assholes?|arseholes?|bastards?|bitch(?:es)?|cunts?|scum(?:bags?)?|"
    r"retards?|dumb ?ass(?:es)?|"
    r"dip ?shits?|shit ?heads?|wankers?|dick ?heads?|pieces? of (?:shit|crap|trash|garbage)|stupid|pathetic|"
    r"brainless|clowns?|motherfuckers?|losers?)"
)
_TOXIC: Patterns = {
    "insults": (
        r"\b(?:you|u|you're|youre|ur|you are|you people|you guys|you lot)(?: (?:are|all|a|an|such|just|so|"
        r"really|fucking|f+ing|bloody|complete|total|absolute|absolutely|utterly|stupid|useless|dumb|damn|"
        r"worthless|"
        rf"pathetic|lying|incompetent|bunch of|little|goddamn|effing|the most)){{0,5}} {_INSULT}\b(?! "
        r"(?:questions?|of me|mistake))",
        r"\b(?:stupid|dumb|idiotic|fucking|shitty|goddamn|braindead|retarded)(?: fucking)? (?:bot|robot|"
        r"machine|idiots?|chatbot|cunts?|morons?|assistant|bitch|clowns?)\b",
        r"\b(?:fuck|screw) (?:you|u|off|yourself|this bot)\b|\bgo (?:fuck|screw|kill) yourself\b|\bgo to "
        r"hell\b|\bshut the fuck up\b|^shut up\b|\bpiss off\b(?! my)|\bsuck my\b|\beat shit\b|\bkiss my ass\b",
        r"\b(?:nigg(?:er|a)s?|faggots?|kikes?|trannys?|trannies)\b",
        r"傻[逼比屄叉缺]|煞笔|[操草艹肏日](?:你|您)(?:妈|媽|大爷|祖宗|全家)|(?<![a-z])(?:sb|cnm|"
        r"nmsl)(?![a-z])|滚(?:蛋|开|開|远点|出去|犊子)|^滚[吧!。]*$|王八蛋|混蛋|狗(?:东西|日的|娘养)|"
        r"贱(?:人|货)|婊子|(?<!是)脑残|(?<!是)智障|猪脑子?|蠢货|垃圾(?:客服|机器人|玩意)|你.{0,6}(?:傻瓜|傻子|笨蛋|蠢|白痴|弱智|脑残|智障|有病吧|脑子有|废物(?!利用))|"
        r"(?:一群|一帮|都是)(?:白痴|废物|骗子和?废物|蠢货|脑残|饭桶)|死全家|全家死",
    ),
    "threatens": (
        r"\b(?:i'll|i will|i'm going to|i'm gonna|im gonna|i am going to|we'll|we will|ima) (?:\w{1,12} "
        r")?(?:kill|murder|stab|shoot|beat|hurt|rape|burn|strangle|find) (?:you|u|your (?:family|kids|"
        r"children|shop|office|store)|all of you|every)"
        r"(?! (?:a |an |the |out |something|another|at ))",
        r"\bi hope (?:you|you all|your family|u) (?:all )?(?:die|rot|burn|choke|get (?:cancer|hit))|\bdrop "
        r"dead\b|\bkill yourself\b|\bkys\b|\bi know where you (?:live|work)\b",
        r"(?:弄死|杀了|殺了|砍死|打死|捅死|整死)(?:你|您|你们)|不得好死|你(?:们)?(?:怎么不|去|都|"
        r"快)去?死(?!皮|角|循|机|[角])|^去死(?!皮|角)|(?:烧|砸|炸)了?你们?的?(?:店|公司|仓库)",
    ),
}  # fmt: skip

PATTERNS: Mapping[Kind, Patterns] = {
    "self_harm": _SELF_HARM,
    "others_data": _OTHERS_DATA,
    "injection": _INJECTION,
    "legal_threat": _LEGAL_THREAT,
    "toxic": _TOXIC,
}
