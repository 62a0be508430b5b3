"""Names of persons, where the words around them say that it is one: an introduction, a title, a label, a relation.

In Chinese also where they do not: a common surname, and characters that given names are written with, at a place where
a word may begin. What is known without such words in Latin letters is in `known_names`.
"""

from __future__ import annotations

from bot.personal.ordinary import NO_PERSON_BEFORE
from bot.personal.rules import Rule, rule

# The commonest surnames; 和, 都 and 有 are left out, which are everyday words far more often.
_SURNAME = (
    r"(?:欧阳|太史|端木|上官|司马|东方|独孤|南宫|夏侯|诸葛|尉迟|皇甫|公孙|慕容|令狐|宇文|长孙|司徒|司空|轩辕|百里|呼延|东郭"
    r"|[赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许何吕施张孔曹严华金魏陶姜戚谢邹喻柏窦章云苏潘葛奚范彭郎鲁韦昌马苗凤花方俞任袁柳鲍史唐"
    r"费廉岑薛雷贺倪汤滕殷罗毕郝邬安常乐傅卞齐康伍余元卜顾孟黄穆萧尹姚邵汪祁毛禹狄米贝臧计成戴宋庞熊纪舒屈项祝董梁杜阮"
    r"蓝闵席季麻强贾路娄危江童颜郭梅盛林钟徐邱骆高夏蔡田樊胡凌霍虞万支柯管卢莫房解应宗丁宣邓郁洪包左石崔吉龚程嵇邢裴陆荣翁"
    r"荀羊甄曲封储靳段巫焦巴牧侯宓仰秋仲伊宫宁仇栾甘厉戎祖武符刘景詹束龙叶幸司韶黎薄印白蒲邰赖卓蔺屠蒙池乔阴胥苍双闻莘党翟谭"
    r"贡劳姬于向时连路申扶堵冉宰雍桑桂牛寿边扈燕冀尚农温庄晏柴瞿阎慕连茹习艾鱼容古易戈廖庾衡耿匡文寇广东欧沃蔚隆巩聂晁"
    r"勾敖融冷辛阚简饶曾沙养鞠丰关蒯查荆游竺盖益桓肖涂岳覃代闫隋]"
    r")"
)
# No given name is written with these; they begin the next word.
_GIVEN = r"(?![的是在了想要我你您他她它们这那哪手电请买订住与及也就都不没有说问吗呢啊吧先女太收寄])\p{Han}"
# Everyday words that begin like a surname.
_NO_NAME = (
    r"(?!"
    r"谢谢|多谢|方便|高兴|安排|马上|麻烦|成功|应该|应急|应用|关于|关键|金额|金卡|金牌|金华|全部"
    r"|全额|红色|红包|白色|白金|黄色|黄金|黄光|黄灯|蓝色|蓝月|阴雨|阴天|钱全|钱都|左撇|左边|左手|方家|常客|常用|常住|常州|高级|温馨|温度|温州|安卓"
    r"|安全|安徽|安庆|安装|包邮|包裹|包装|单号|支付|支持|余额|成都|宁波|宁夏|江苏|江西|云南"
    r"|时间|时候|时效|于是|查询|管理|程序|解决|解释|计划|房间|习惯|游戏|路上|申请|项目|平台"
    r"|方式|万一|季度|康复|辛苦|周[一二三四五六日末]|明[天年早晚白确细]|单[独个]|祝[您好]|花[了费]|向[您你]"
    r"|白[天费]|常见|成[本人员语]|高[铁端考中]|毛[病衣]|东[西方]|查[一看找]|代[付购]|边[长框]|花呗|景[点区]|容易"
    r"|安利|关系|曾经|印度|应然|宣传|欧洲|毕竟|东北|周围|莫名|(?<=\d\s?)[元米万包双]"
    r")"
)
# Characters that given names are written with. Numerals and such as 有, 和 and 好 are left out, which some are too.
_GIVEN_CHARACTERS = "".join(
    (
        "丹丽义之乐乔云亚京亭亮仁仕仙仪伊伟传伦伯佑佩佳依俊保信倩健傲兆光克兰兵军冉冬冰净凌凝凡凤凯刚利劲勇勋博卓友叶君启吉名",
        "咏品哲唐善嘉固坚坤培堂士夏奇奕妍妙妮姗姝姣娅娇娜娟娣娥娴娉婉婕婧婵婷媛嫣子孝宁宇守安宏宗宜宝宣家容宸富尚岚岩岳峥峰峻崇嵘川",
        "巍帆希平庆康延建弘弛强彤彦彪彬彰征德心志忠念怀怡思恒恩恬悦惠慈慧振捷敏敬文斌斐施旋旭昀昂昊昌明昕星春昭晋晏晓晔晗晨景晴晶智",
        "曦月朋朗望木杉杏杰松林枝枫柏柔柯柱柳栋树桂桃桐桦梁梅梓梦森楚楠榕樱欢欣正武殿毅民永江沁沐沛波泉泓泽洁洋洪浩海涛润涵淇淑淳清渊",
        "渝湘源溪滔滢漫潇潮澄澜灵炎炜炫炳烁烨焕然熙熠燕爱玉玮玲珂珊珍珏珠珺琛琦琨琪琬琰琳琴琼瑛瑜瑞瑶瑾璇璐璟田畅皓益盈盛睿瞳硕碧磊礼",
        "祖祥福禹秀秋穆竹筠筱素红纯纲绍绣维绮美羽翊翔翠翰耀聪胜航良艳艺芃芊芝芬芮芯花芳芷芸苏苑苗若英茂茗茜茵荣莉莎莲莹菁菊菡菲萌萍萱",
        "蓉蓓蓝蔓蔚蕊蕾薇虹蝶裕训诗诚语诺谦豪贝贞贤贵超轩辉辰远逸邦郁金鑫钊钢钦钧铁铃铭银锋锐锦长雁雄雅雨雪雯雷霄霆霏霖霜霞露青靖静韬",
        "韵颂颖风飞飘馨驰骁骏鸣鸿鹃鹏鹤鹭麒麟黎黛龙东国全华桥",
    )
)
# More of them: these words are looked for without any words around that say "name".
_EVERYDAY = (
    r"(?!"
    r"欧[元洲美亚盟]|柏林|巴黎|巴士|东[京亚欧海南北]|广[东西州告播]|沙[发子漠]|卫生|武[汉器术]|文[明科宣艺凭具化]|夏[天日季威]|包[子容心]|花[生园木朵瓣卉]|吉[林他祥]|苏[州联格黎菲打宁]"
    r"|韩[国流]|沃德|黄[金石河油瓜]|龙[泉江虾]|胡[桃萝]|桂[花林]|梅[雨花]|农[民家]|凌晨|温[柔顺泉暖和]|幸[福运]|双[标方]|常[温年]|高[贵尚峰潮温雅兴清]|容[易量貌]"
    r"|万[幸民年]|马[路虎桶克]|石[子头]|毛[发巾毯]|盖子|童年|叶子|元[素月旦]|成[品立长绩]|阴[影天]|丰富|严[谨重]|段[子落]|房[子东间]|祝[福贺]|仇富|王[子国牌]|祖宗"
    r"|费[用心]|路[程名]|舒[心适]|关[心门]|方[言便便向]|云[贵南端]|白[光白发云菜银]|米[兰长高]|蓝[光色白牙]|乐[子园]|华[夏丽]|伊[利春]|羊[水毛绒]|安[吉静心]"
    r"|苗[条子]|金[发银子]|郑州|徐州|杭州|林[业地]|柳[州树]|松[木树]|杨[树梅]|桃[花子]|李子|竹[子]|莲花|雪[花]|雷[雨电]|冰[雪箱]|风[格险扇]|水[杯]|明[信月显]|平[安常]|贵[宾州]"
    r"|向[导日]|洪水|易[燃碎]|游[玩泳]|司[机]|宗[旨教]|强[行烈]|陆[军地]|时[光尚长]|车[间]|国[庆家]|家[庭]|利[息润]|江[山湖]|海[南关外]|青[岛海]|麻[花]|牛[奶肉仔]|鱼[缸]|鲁[迅]|宫保|关东|生姜|龙[利虾]|武昌|曲奇|黄[家桐]|汤[全超依]|景德|于[正保之]|纪念|冷静|苏绣|连[平家正]|姜[红茶]|牛柳|孙子|闻名|万念|安[乐娜]"
    r"|金牌|代金|傅[依超]|巴克|贺[乔新]|欧国|古德|华茂|吉吉|米超|师傅|费贵|阿[里]"
    r")"
)
_SOME_GIVEN = rf"[{_GIVEN_CHARACTERS}]"
_AFTER = (
    r"(?=[\s\p{P}\p{S}\p{Latin}\d]|$|本人|签收|代收|师傅|老师|经理|手机|电话|邮箱|身份证|护照|地址|先生|女士|小姐|太太"
    r"|[的想要住在是收买订]|下单)"
)
_CHINESE = rf"{_NO_NAME}{_SURNAME}(?:{_GIVEN}{{2}}{_AFTER}|{_GIVEN}{_AFTER})"
_CHINESE_LOOSE = rf"{_NO_NAME}{_SURNAME}(?:{_GIVEN}{{2}}{_AFTER}|{_GIVEN}{_AFTER}|{_GIVEN}{{2}})"
# Behind such a character a name may begin.
_LEADS = (
    r"(?<=^|[^\p{Han}]|[是叫给让请找和跟与被替帮把从代受由对向为员服人户生属师理司方客到在以写成填名查卫工送知"
    r"妈爸姐哥弟妹婆叔姨舅姑爷奶板友事号者长主租]|认证|一下|抬头|备注|尊敬的|亲爱的|签收的|写成了|孩子)"
)
# Everyday words behind a character that is a surname too: 退成|礼品, 浙江|安吉.
_NO_GIVEN = (
    r"(?!礼品|[德美英法韩泰中全各]国|[英德中法]文|国家|朋友|依然|安全|安吉|安心"
    r"|月亮|苏黎|清洁|延保|正宗|明明|永远|健康|喜欢|正常|平常|平时|家庭|玉兰)"
)
_KNOWN_CHINESE = (
    rf"{_LEADS}(?P<it>{_NO_NAME}{_EVERYDAY}(?![于时向]\p{{Han}}(?:国|家|学)){_SURNAME}"
    rf"(?:{_NO_GIVEN}[小一{_GIVEN_CHARACTERS}]{_SOME_GIVEN}|{_SOME_GIVEN}))"
)
_KNOWN_ANYWHERE = (
    rf"(?<![一几两这那哪每])(?P<it>{_NO_NAME}{_EVERYDAY}(?![于时向成常]){_SURNAME}{_NO_GIVEN}{_SOME_GIVEN}{{2}})"
)
_LABEL = (
    r"(?:收件人|收货人|联系人|寄件人|发件人|经办人|申请人|投保人|被保人|入住人|乘客|乘机人|姓名|户名|持卡人|开户人|名字|真名|全名|署名|客户|称呼)"
    r"(?:姓名|名字|名称)?(?:改成|改为|换成|写成|写的是?|填的?是?|登记的?是?|应该?是|是|为|叫|[：:\s])*"
)
_CORRECTED = r"(?:名字|姓名|收件人|收货人|联系人)[^。！？\n]{0,12}?(?:应该是|应为|改成|改为|换成|写成|从)"
_ROLE = r"(?:户主|机主|车主|房主|业主|患者|病人|乘客|法人|负责人)"
_KIN = (
    r"(?:我[爸妈哥姐弟妹爷奶舅姨姑叔]|老公|老婆|爱人|丈夫|妻子|妈妈|母亲|爸爸|父亲|儿子|女儿|朋友|同事|室友|邻居|哥哥|弟弟|姐姐|妹妹|爷爷|奶奶|外公|外婆|舍友|同学|家人)"
    r"(?:的?名字)?(?:叫|是)?"
)
_EDGE = r"(?<=^|[^\p{Han}]|[是叫给让请问找向和跟与为位才由被从对帮您我])"

_NOT_A_NAME = (
    r"(?!(?:I|I['’]\w+|The|A|An|My|Your|Our|This|That|It|Is|Are|Not|And|But|Or|For|From|To|On|In|At|With|Please|Thanks?|Thank|Hi|Hello"
    r"|Hey|Dear|Yes|No|Ok|Okay|Sorry|Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday|January|February|March"
    r"|April|June|July|August|September|October|November|December|Customer|Support|Service|Order|Team|Back|Phone|Email"
    r"|Address|Today|Tomorrow|When|Where|Why|How|What|Who|Which|Can|Could|Would|Will|Do|Does|Did|Has|Have|Had|User|Bot|Apt|Suite|Unit|Box|PSC|Ltd|Inc|LLC|GmbH|Corporation|Company|Mr|Mrs|Ms|Miss|Mx|Dr|Prof|There|All|Team|Sir|Madam|Everyone|Everybody|Guys|Folks|Someone|Somebody|Anyone|Manager|Agent|Representative"
    r"|Sales|Technical|Human|Kefu|Lumi)\b)"
)
_WORD = rf"{_NOT_A_NAME}\p{{Lu}}(?:[\p{{L}}\p{{M}}\-]|['’](?!s\b))+"
_PARTICLE = r"(?:van|von|de|da|del|der|den|di|la|le|bin|al|el|dos|ter)"
_MORE = rf"(?: (?:{_PARTICLE} ){{0,2}}(?:{_WORD}|\p{{Lu}}\b\.?(?= \p{{Lu}})))"
_NAME = rf"{_WORD}{_MORE}{{0,3}}"
_FULL_NAME = rf"{_WORD}{_MORE}{{1,3}}"
_NO_LOWER = (
    r"(?!(?:wrong|incorrect|not|spelled|spelt|misspelled|misspelt|missing|still|different|changed|also|too|the|an?|on|in"
    r"|at|and|but|or|i|i['’]m|my|me|your|it|is|are|was|from|with|for|to|of|so|please|can|could|would|will|that|this|there"
    r"|here|no|never|already|only|just|because|if|when|what|how|where|why|who|thanks?|order|phone|email|address"
    r"|printed|shown|listed|written|registered|appearing|correct|right|now|back|later|asap|today|tomorrow|tonight|again"
    r"|maybe|when|as|by|before|after|names?|passwords?)\b)"
)
_LOWER_WORD = rf"{_NO_LOWER}[\p{{Latin}}][\p{{Latin}}\p{{M}}'’\-]+"
_ANY_NAME = rf"(?:{_NAME}|{_LOWER_WORD}(?: (?:\p{{L}}\.? )?{_LOWER_WORD}){{0,2}}|\p{{Han}}{{2,4}})"
_RELATIVE = (
    r"(?:wife|husband|son|daughter|kid|mother|mom|mum|father|dad|brother|sister|partner|girlfriend|boyfriend|fiancée?|aunt|uncle"
    r"|cousin|niece|nephew|grandmother|grandfather)"
)
_NAME_FIELD = (
    r"(?:(?:full|first|last|given|family|customer|contact|recipient|account|card|passenger|guest)[ _]?)?name"
    r"(?: on (?:the |my )?\w+)?|recipient|addressee|attn|attention|card ?holder|account holder|beneficiary|ship to"
    r"|bill to|deliver to|directed by|signed(?: by)?|passenger|guest|(?:billing|shipping|delivery) address"
    r"|contact person"
)
_BELONGING = r"(?:address|phone|number|e-?mail|account|card|order|parcel|password)"
_SIGN_OFF = r"(?:regards|sincerely|yours|cheers|best wishes|greetings|thank you|thanks)"
_INTRODUCED = (
    r"(?:\bmy (?:full |first |last |real )?name(?: is|['’]s|:)|\bpeople call me|\bi am called|\bi['’]m called)"
)
_COMPANY = rf"(?i:{'|'.join(sorted(NO_PERSON_BEFORE))})\b"
_ON_A_LINE = rf"(?! {_COMPANY}){_MORE}"
_NAME_ENDS = r"(?=\s*(?:$|[\n,;.!?/|\ufffc]))"

_NICKNAME = rf"[小阿老]\p{{Han}}{_AFTER}"
_CHINESE_PATTERNS = (
    rf"(?:[我他她]|名字|姓名|人名|[人母婆公子儿妈爸友事])叫(?:做|作)?\s?(?P<it>{_CHINESE_LOOSE}|{_NAME}|{_NICKNAME})",
    rf"本人\s?(?P<it>{_CHINESE})",
    rf"我是(?P<it>{_NO_NAME}{_SURNAME}{_GIVEN}{{1,2}}(?<![生员客人师户家者妈爸友款号店方民工])(?=[\s\p{{P}}]|$))",
    rf"{_LABEL}(?<=[是为叫：:\s成])(?P<it>{_CHINESE_LOOSE}|{_NAME}|{_NICKNAME})",
    rf"{_LABEL}(?P<it>{_CHINESE})",
    rf"{_KIN}(?P<it>{_CHINESE})",
    rf"(?P<it>{_NO_NAME}(?![于向时]){_SURNAME}\p{{Han}}{{0,2}})(?=先生|女士|小姐|太太)",
    rf"{_EDGE}(?P<it>(?![于向时师老]){_SURNAME})(?=师傅|老师|经理|医生|教授|律师|阿姨|叔叔|大哥|大姐|店长|主任)",
    rf"(?:用户|客户|会员)(?P<it>{_CHINESE})(?=[\s\p{{P}}\d\ufffc]|$)",
    rf"{_CORRECTED}(?P<it>{_CHINESE})",
    rf"{_ROLE}(?P<it>{_CHINESE})",
    rf"(?:寄给|发给|开给|转给|交给|联系|转告)(?P<it>{_CHINESE})",
    rf"(?<=^|[^\p{{Han}}]|[是叫给让请找跟替帮和])(?P<it>{_CHINESE})(?=本人|签收|代收|收(?:$|\p{{P}}))",
    rf"我姓(?P<it>{_SURNAME})",
    rf"(?<=^|[^\p{{Han}}]|[查下把从是给])(?P<it>{_CHINESE})(?=的(?:手机|电话|身份证|地址|账号|快递|邮箱|订单|号))",
    rf"(?<=^|[\s,，、;；:：/])(?P<it>{_CHINESE})(?=[\s,，、/]{{0,3}}\ufffc)",
    rf"\ufffc[\s,，、/]{{1,3}}(?P<it>{_CHINESE})(?=[\s,，。、/]|$)",
    _KNOWN_CHINESE,
    _KNOWN_ANYWHERE,
)
# A pattern, and what is cheaply looked for first: a pattern that begins with a name is tried at every capital.
_ENGLISH_PATTERNS = (
    (rf"(?i:{_INTRODUCED})[ :]+(?P<it>{_ANY_NAME})", r"(?i)name|call"),
    (rf"(?i:\bcall me|\bi go by|\bnamed (?:him|her)) (?P<it>{_NAME})", r"(?i)call|go by|named"),
    (rf"\b(?i:mr|mrs|ms|mx|dr|prof)\.\s?(?P<it>{_ANY_NAME})", None),
    (rf"\b(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Sir|Madam|Herr|Frau|Madame|Monsieur) (?P<it>{_NAME})", None),
    (rf"(?i:(?<!\p{{L}})(?:{_NAME_FIELD})[ \t]*[:：][ \t>]*\n?[ \t>]*)(?P<it>{_NAME}){_NAME_ENDS}", "[:：]"),
    (rf"(?i:\bname\b[^.?!\n]{{0,40}}\?\s*(?:user: ?|customer: ?|it['’]?s )?)(?P<it>{_NAME})", r"(?i)name"),
    (rf"(?i:\bname\b[^.?!\n]{{0,60}}\b(?:change|correct|update)[^.?!\n]{{0,20}} to )(?P<it>{_NAME})", r"(?i)name"),
    (rf"(?:^|[\n.!?] ?)(?i:hi|hello|dear|hey) (?P<it>{_NAME})(?=[,!.\n]|$)", r"(?i)hi|hello|dear|hey"),
    (rf"(?i:\b(?:speak|speaking|talk|talking|spoke|talked) (?:to|with) )(?P<it>{_NAME})", r"(?i)sp[eo]|talk"),
    (rf"(?i:\badd )(?P<it>{_FULL_NAME})(?= (?i:as an? ))", r"(?i)\badd "),
    (rf"(?i:\bunder (?:the name (?:of )?)?)(?P<it>{_FULL_NAME})", r"(?i)under"),
    (
        rf"(?i:\b(?:my|his|her|our) (?:{_RELATIVE}|friend|colleague|boss|neighbou?r)"
        rf"(?:,| is| named| called| is called)? )(?P<it>{_NAME})",
        r"(?i)my|his|her|our",
    ),
    (rf"\b(?P<it>{_NAME})(?=['’]s (?i:{_RELATIVE})\b)", rf"(?i)['’]s {_RELATIVE}\b"),
    (rf"\b(?P<it>{_FULL_NAME})(?<! {_COMPANY})(?=['’]s (?i:{_BELONGING})\b)", rf"(?i)['’]s {_BELONGING}\b"),
    (rf"\b(?P<it>{_NAME})(?= (?i:lives (?:at|in|on))\b)", r"(?i) lives "),
    (
        rf"(?i:\b(?:this is|it['’]s|i am|i['’]m) )(?!\p{{Lu}}+ \p{{Lu}})(?P<it>{_FULL_NAME})"
        r"(?=[,.!\n]|$| (?i:from|here|speaking|calling|and|with)\b)",
        None,
    ),
    (rf"(?i:\b(?:this is|it['’]s) )(?P<it>{_WORD})(?= (?i:from|here|speaking|calling)\b)", None),
    (rf"(?i:\b{_SIGN_OFF}[ \t]*[,!.]?[ \t]*\n\s*)(?P<it>{_NAME})(?=\s*$)", r"\n"),
    (
        rf"(?m:^)[> \t]*(?P<it>{_WORD}{_ON_A_LINE}{{1,3}})(?! {_COMPANY})[ \t]*\n"
        rf"(?:[^\n]{{0,60}}\n){{0,5}}[\s>]*\ufffc",
        "\ufffc",
    ),
)

RULES: tuple[Rule, ...] = (
    *(rule("person", pattern, needs=r"\p{Han}") for pattern in _CHINESE_PATTERNS),
    *(rule("person", pattern, needs=needs) for pattern, needs in _ENGLISH_PATTERNS),
)
