"""Words that are on lists of names and are mostly something else: everyday words, places, makers of goods.

No dictionary: only what is on those lists counts, and each word was looked at. Lower case, without accents.
"""

from __future__ import annotations

_EVERYDAY = """
    chuck royal sie
    aa ab abbey ability able above access account accounting accounts ace action active actual ad ada admin
    administrator advance adventure again agent ah air ak al ale alert alfredo all alla ally alm almond alpha already
    also altar although always am amazing amber amen amour an ana anchor and android angel angels angry annex answer
    any apart ape app apparently apple application apr april ar arch arden area arent aria arm armor arms army arrie
    arrow art artist arts as asap ash asia aside ask asking asks asp aspen assistant ast aster at atlas att au auch
    aug august aura auto autumn away axle az ba babe baker bald bale bali ball bamboo band bands banger bank banks bar
    bard bare bargain barn baron barrel barrow bars base basic basil basin bass bat bates bath bay bays bb bc bd beach
    beacon beam bean beans bear beard beat beau beautiful beauty beaver because beck bed bee beech beer bees before
    being bell bells belt bench bend bent berg berry besides best bet beta better between beverage bi big bike bil
    bill bills bin binder birch bird birds biro birth bishop bison bit bite black blade blaze bless blessing blond
    blood bloom blossom blot blue blur board boat body bold bolt bond bone bones bonfire bonus book books boost boot
    boots boss bot both bottle bowl bowler bowls box boy boys brace branch brand brands brass brave bravo bread break
    breeze brew brick bride bridge bridges brief bright bring brisk brook brooks broom brother brown bruise brush buck
    bud buddy budge bug bull bun bunch bunk burden burger burn burns bus bush business buster busy but butler butter
    button buy by ca cab cable cadence cake call caller calm cam camp can cancel candle candy cane cannon cannot canon
    cant canyon cap cape captain car carbon card cards care cares cargo carpenter carpet carriage carrier carry cart
    carver cas case cash cast castle cat cause cave cc cd ce cedar celebrity cent center central chair chalk challenge
    chamber champ champion chance change channel chapel chapman char charge charity charm chart chase chat che check
    checkout cheer cherish cherry chess chest chestnut chick chief child chill chin chip chips choice chosen christian
    christmas church cinnamon circle city claim class classic clay clean clear clever client cliff climb cling clock
    close cloud clover club co coach coal coast coat cobalt code coffee coin cola cold collect colon color colour come
    comfort coming common company con confirm conn conquest constant contact content cook cookie cool cope copper
    coral cord core cork corn corner correct cost costs cotton could council count country couple courage court cousin
    cover cow coward crab craft crane crash cream creed creek crest cricket crisp crop cross crow crowd crown cruise
    crush crystal cub cup curl curry curtain customer customers cut cute cv cycle da daisy dalla dam dame damp dance
    danger dare daring dark darling dash date dawn day days de deal dear debit dec december deck deep deer default del
    delight deliver delivery della delle delta demo den denim dent der des desert design desire destiny detail details
    dev dew di dia diamond dice did didn didnt die diesel dig dime dinner dish diva dive dixie do doc dock doctor
    dodge does doesn dog doll dollar dolly don done dong dont door dot double dove dow down dozen dr drake draw dream
    dreams dress drew drink drive driver drop drum dry du duck due duke during dusk dust dusty duty each eagle early
    earnest earth ease east easter easy ebony echo eclipse ed edge edit edu ee eg egg either el elder electric ell
    elle elm else email ember emerald emit empire en end english enjoy enough enter envy epic er erm error esprit
    essence estate et eta etc eternity ether eu eve even evening ever every everybody everyone everything everywhere
    ex exactly exam excel except expert express extra extremely eye fa face fair faith falcon fall fame family fan
    fancy far fare fares farm farmer fast fat fate father fawn feast feather feb february fed fedex fee feedback felt
    fern ferry few field fields fifa fig file finally find fine finger fir fire first fish fit five fix flag flame
    flash flat fleet flight flint flood floor flora florist flower flowers fly fog fold follow following font food
    fool foot for force ford forest forever form fort forte fortune forum found founder fountain fox fr frame free
    freedom freeman french fresh friday friend friends frost fruit fry fuel full fun fund funk fur future gain gala
    gale gall gallery game gang garden gardener garland garlic garnet gas gate gates gb gem general generally genesis
    genie gentle geo german gg gift gild ginger girl give given glad glass glasses glen globe glory gloves glow go
    goal goat god gogo gold golden good goose gospel got gown grace grain grand grant grape graph grass grateful grave
    graves gravity gray great green greet grey grid grill grit groom gross ground group grove grow guard guest guests
    guide gulf gum gun gust guy guys gym ha hacker hai hail hair half hall ham hammer hand handler hands handy hang
    happiness happy harbor hard hardy hare harm harmony harp harvest has hash hasn hasta hat have haven having hawk
    hay hazard hazel head heart heat heath heaven heck hedge heel held hell hello help hence henna her herald herb
    here hero heron hers hey hi high hike hill hills him hint hip his hit ho hob hobby hold holder hole holiday hollow
    holly holy home honest honey honor honour hood hoof hook hop hope horn horse host hot hotline hour house how
    however hr hug hull human humble hung hunger hunt hunter hurry hurt husband hush hut iban ice icy id ide idea
    ideal identity ie if ill im image imam in incorrect india indigo indoor information inn input instead invoice io
    ip iron is isis island isn isnt issue it italian item its itself ivory ivy jackpot jade jam jan january japan jar
    jasper jazz je jeans jelly jet jewel jo job join joke jolly journey joy judge jul july jump jumper jun june jungle
    junior just justice jute ka kale karma kb keen keep kettle key keys ki kid kidd kill kind kindle kindly king kings
    kiss kit kitchen kite km knight knock know ko la labor lace lack lad lady lake lamb lamp lance land lane lang lap
    large lark las lash last late laurel lav lavender law lawn lay lazy lb le lead leaf league lean learn lease
    leather leave left leg legend legends lemon les less lever li liberty lie lies lif life light lights like lily
    lime line link lion lip list little liv live liver living lizard lo load loan lock loft log logic lol long loo
    look loop lord lore los lose lot lots lotus loud lounge love lovely lover low lower loyal loyalty lt lu luck lucky
    lunch lux luxury lyric ma mac mace macs mad made maestro magenta magic maid mail main major mak make maker male
    mall malt mama man mango manner manor mantle many map maple mar marble march mare margherita margin marine mark
    marker market marks marlin maroon marry mars marsh marshal marshall mart marvel mask mason mass mast master mat
    match mate math mats matt matter mature max maxi maxim maxima maximum may maybe mayo mayor mb me mead meadow meal
    mean meat media mega melody member memory men menu merchant mercury mercy mere merit merry mesa mesh message met
    meta metal meter metro mi mica mid middle midnight might mild mile miles milk mill million min mind mine mini
    minimum minor mint minute miracle mirage mirror miss missed missing mist mister misty mix ml mm mo mobile mod mode
    model modest mole moment money monk moon moor moral more morning moss most moth mother motor mount mountain mouse
    mouth move mr mrs ms much mud mull multi muse music must mustard mustn my myriad myrtle mystic na nail name nan
    nap nas nation native nature navy nb ne near neat ned nee need neither nest net never new news newsletter next
    nice night nights nil ninja no noble nobody node nominal none noon nope nor normal north nose not note nothing nov
    nova novel november now nr number nurse nut ny oak oaks oasis ocean oct october odd odds oder of off offer office
    often oh oil ok okay okey old olive olives olly omg on once one onion only onyx op opal open opera operator option
    or orange orb orchard orchid order orders organ orient origin orion os other otherwise otter our ours out outlet
    oven over owe owing own owner ox oz pa pace pack page pages paid pain paint pair pal palace pale palm pan panda
    pansy pant paper par paradise parcel park parks parrot part parts party pass passion password past paste path
    patience paw pay payment pc peace peach peacock peak pear pearl peel peer pen penny people pepper per perch
    perfect perhaps period permit person pet petal pets petty philippine phoenix phone photo pi pick pie piece pier
    pika pike pilgrim pin pine pines ping pink pint pioneer pious pipe piper pitch pity pixel place plain plan plane
    plant plate platinum play player plaza pleas pleasant please pleasure plum plus pm po poem poet point pole police
    poll pond pony pool poor pop poppy porch port porter position possible post pot potter pound power praise pray
    prayer precious premium present press pretty previous price pride priest prime primrose prince princess print
    prior privilege prize pro problem producer product profit promise proof prosper proud ps pub puck pull pulse
    pumpkin puppy purchase pure purple put qa quality queen quest question quick quiet quill quince race rack radar
    radiant radio rage rail rails rain rainbow raisin ram ran ranch rand range ranger rank rapid rare rate raven rays
    razor re reach read reader ready real really reason rebel rebels rec receipt red reed reef refs refund regal
    regarding regards reign reliable remark rent repo representative request response rest return reward rice rich
    riches rid ride rider ridge rifle right ring rings ripple rise river rivers ro road roast rob robe robot rock
    rocket rocky rod roger role roll roman romance rood roof room root roots rope rose rosemary roses rosewood round
    route row rowan royal royalty ruby rug rule run rush russet rust rusty rye sa sack sad safari safe saga sage said
    sail sailor saint sake sale sales salmon salt same sami san sand sandal sands sandy sans sapphire sat satin
    saturday sauce sauna savage save saw say scales scar scarlet scene schon school score scout screen se sea seal
    search season seat sec second secret security see seed self sell seller sem send senior sense sep september serene
    serenity serge serious server service set seven sever sha shade shadow shake shall shallow sham shan shape share
    sharp she sheep sheet shell shelter shepherd shield shields shine ship shipped shipping ships shirt shoe shoes
    shop short shot should shouldn show shower shy si sia sick side sign silence silent silk silver sim simple since
    sincerely sine sing singer single sink sir siren sister sit site six size skill skills skin skip sky skylark skype
    slater sleep slim slip slot slow small smart smile smoke smooth sms snap snow so soap sofa soft solar sold sole
    solid solo some someone something son song sonic sonnet soon sophisticated sorrow sorry sort soul sound soup south
    sow space spain spare spark sparkle sparks sparrow spear special speed spell spice spider spin spirit spoon sport
    spot spring sprout square squire st stack staff stage stain stamp stand standard star stark stars start state
    station stay steal steam steel steep stem step sterling stern steward stick still sting stock stone stones stop
    storage store storm story stout stove strand strange straw stream street streets strength string strong style su
    success such sue sugar suit suite suits sum summer summers summit sun sunday sunny sunrise sunset sunshine super
    support suppose supreme sure surge surprise swallow swan swap sweet sweets swift swim swing sword symphony syrup
    sys ta tab table tack tag tailor take tale talent tall tame tan tank tape target task taste tata tax tea teal team
    tear tech teddy tell teller temper temple ten tender tennis tent term terra test text than thank thankfully thanks
    that thats the theirs them then there theres these they thing things think third this thorn those thou though
    thought thread three thrill throne through thunder thursday thus ti ticket tide tie ties tiffany tiger til tilde
    tile till time timer times tin ting tint tiny tip tips titan title to toast today together tone tonic too tool top
    topaz topic torch tore total touch tough tour tow tower town toy trace track tracking trade trail train travel
    travis tread treasure treat tree trees trend trial tribe trick trim trinity trip true trueman trunk trust truth
    try tu tuesday tulip tune turn turtle tv twig twin twist two ty type ugh ui uk ultra umber umbrella un una uncle
    und under une unfortunately uni union unique unit unity universe unknown unnamed uno until up upper upset urban
    urgent us usb use user va vain vala vale valentine valid valley value van vanilla vapor var various vary vase vast
    vat vault ve vegan veil vela velvet venture venus ver verb verify versa verse version very vest vi video view
    village vine violet violin viper virtue visa vision vista vital vivid voice void volt von vote voucher wa wade
    wage wait wake walk walker wall walls war ward ware warm warn warner warrior was wash wasn wasp waste watch water
    waters watt wave waves wax way we wealth weather weaver web wed wednesday weed week weekend weeks weight welcome
    well wells were weren west western whale what whatever whats wheat wheel wheeler when whenever where whether which
    while whisper white who whoever whole whose why wide wife wifi wild wilder will willing willow win wind windows
    windy wine wing wings winner winter winters wire wisdom wise wish wit with wm wo wolf woman won wonder wonders
    wont wood wooden woods woody wool woolen word words work worker works world worry worth would wouldn wow wren
    write writer wrong xl ya yacht yard yeah year yearly years yellow yen yep yes yesterday yet yo yoga you young your
    youth yuan za zeal zelda zen zero zest zeta zinc zip zone zu
"""

_PLACES = """
    aarhus abilene adelaide africa african alabama alaska albany alberta alps america american amsterdam andes angeles
    ankara antalya antwerp arabic arizona arkansas asia asian athens atlanta atlantic auckland augusta austin
    australian austria austrian bahia bali baltic baltimore barcelona bari basel bath belfast belgian belgrade belize
    bergamo bergen berlin bern bilbao bologna bolton bordeaux boston bradford braga brazil brazilian breda bremen
    brighton bristol britain british brno brooklyn brunei bucharest budapest buffalo bulgarian burton cairo california
    cambridge camden canada canadian canberra cardiff carlisle carolina catalina catania chad chelsea chester chicago
    chile chilean china chinese cleveland coimbra cologne colombia colorado columbia columbus constance cordoba cork
    corona corsica costa crete croatian cuba cuban cyprus czech dakota dallas danish danube darwin dayton delft delhi
    denmark denver derby detroit devon dover dresden dublin durham dutch egypt egyptian eindhoven england english
    essen essex europe european finnish florence florida france francisco french gdansk geneva genoa georgia german
    germany ghana ghent glasgow goa gothenburg granada graz greece greek greenwich grenoble guernsey hague halifax
    hamburg hamilton hampshire hampton hanover havana hawaii hebrew helsinki hereford holland hollywood hong houston
    hudson hungarian hungary iceland idaho illinois india indian indiana iowa iran iranian ireland irish israel
    israeli italian italy jacksonville jakarta jamaica japan japanese jersey jerusalem jordan kansas kent kentucky
    kenya kenyan kiel kingston kong korea korean krakow kyoto lagos lancaster latin lausanne lebanese lebanon leeds
    leiden leipzig leon lille lima lincoln linz lisbon liverpool lodz london lourdes lucca lugano lyon madeira madrid
    maine malaga mali malmo malta manchester manhattan manila mantua marseille maryland melbourne memphis mesa messina
    mexican mexico miami michigan milan milano milwaukee minnesota mississippi missouri mobile modena modesto monaco
    montana montreal moroccan moscow munich munster murcia nairobi nancy nantes naples napoli nara nevada newark
    newcastle newport nice nicosia nigeria nigerian norfolk norway norwegian nottingham nuremberg oakland odense
    odessa ohio oklahoma omaha ontario oregon orlando orleans oslo oxford pacific padova pakistan pakistani palermo
    palma panama paris parma pennsylvania persia perth peru peterborough philadelphia phoenix pisa pittsburgh plymouth
    poland polish portland porto portugal portuguese potsdam prague preston queens queensland quito raleigh ravenna
    reading reims rennes reno rhodes richmond riga rimini rio roma roman romanian rome rotterdam russia russian
    sacramento salem salerno salisbury salvador salzburg samara santa santiago savannah savoy saxony scotland scottish
    seattle segovia senegal seoul serbian seville shanghai sharjah sheffield siena sienna sierra singapore skye slovak
    spain spanish split stafford stanford stockholm stratford stuttgart suffolk surrey sussex sweden swedish swiss
    sydney syria tallinn tampa tampere tennessee texas thames tokyo toledo toronto toulouse trent trento trondheim
    troy tunis turin turkey turkish turku tyrone ukraine ukrainian ulster umbria utah utrecht valencia valletta
    vancouver vegas venice vermont verona vicenza vienna vigo vilnius wales warsaw warwick washington wellington welsh
    westminster wigan winchester windsor wisconsin worcester wyoming york yorkshire zagreb zurich
"""

# Of goods, services and machines that carry a person's name; and who answers instead of a person.
_MAKERS = """
    abbott acrobat adidas adobe alexa alfa alibaba alipay amazon amex android anthropic armani asus audi baileys
    barclays bayer benz bic bing bosch bose braun bugatti burberry cadbury calvin cartier casio chanel chatgpt
    chevrolet christie chrome chrysler cisco citroen clarks claude colgate converse core cortana debian dell diesel
    dior discord disney dolce dyson ebay edge electrolux ericsson etsy excel facebook fahrenheit fairy fender ferrari
    ferrero fiat fila firefox fitbit ford fortnite fossil garmin geforce gemini gibson gillette github givenchy google
    gucci guinness haribo harley heinz hermes hewlett hilfiger hilton honda hoover huabei hyundai ikea illustrator
    instagram intel ios jaguar java jbl jeep johnnie karcher kawasaki kefu kellogg kenwood kia kindle klarna kodak
    lacoste lada lamborghini lego lenovo levi levis lexus lightroom lindt linux lloyds logitech lotus lufthansa lumi
    macos maestro marriott marshalls maserati mastercard mattel maxwell mazda mcdonald mcdonalds mercedes michelin
    microsoft miele minecraft mini montblanc moulinex mustang nestle netflix nike nikon nintendo nissan nokia nutella
    nvidia oakley oeko olympus openai oracle oreo outlook panasonic pandora paypal peugeot philips photoshop pixar
    playstation porsche powerpoint prada puma python radeon rasa remington renault revlon revolut ricoh rimowa roku
    rolex rover ryzen safari samsung santander sears seiko sennheiser sephora sharp shein shell shimano shopify
    siemens singer siri skoda slack sony spotify starbucks stripe subaru suzuki swarovski swatch tefal telegram tesco
    tesla thermos tiktok timberland tommee toyota tupperware twitter uber ubuntu unionpay versace vespa visa vodafone
    volvo walmart wechat wendy wendys whatsapp wilson word xbox xerox yahoo yale yamaha youtube zalando zara zeiss
    zelle zippo zoom
"""

# What a group of people, a place or a thing is called behind a name: "Weber Ltd", "Anna Weber School", "Jack's Bar".
_NO_PERSON_BEFORE = """
    academy agency airlines airport alley analytics apartments app arena associates association avenue awards bakery
    bank bar bay beach bikes books boulevard bridge bros brothers brush building cafe capital care castle cathedral
    center centre chair charger church city clinic club co coast coffee collection college company consulting corp
    corporation council county court creek cup data dental design desk digital district drive edition electric
    electronics energy engineering enterprises estate falls festival field finance financial fm forest forks
    foundation fund furniture games garden gardens global gmbh group guide harbor health heights high highway hills
    holdings holiday hospital hotel house inc incorporated industries inn institute insurance international
    investments island islands jeans junction kg kitchen lab labs lake lamp lamps law league library limited llc llp
    logistics loop ltd magazine mail mall management manor market markets media memorial mountain mountains museum music
    networks news ocean office opera orchestra palace parish park parks partners peak pharma pharmacy pizza place
    plaza plc point port press prize province pub publishing radio railway ranch records region research resort
    restaurant ridge river road school science sea securities series services shop shore show sofa software solutions
    springs square st stadium state station stop store strait street studio studios suite summit supercomputing supply
    systems table team tech technologies technology telecom temple terrace theater theatre tower towers town township
    trail transit travel trust union unit university valley vault ventures view village ville war watch way wharf
    works yard zoo
"""

# Given names too, but almost never where there are no capitals.
_NEVER_GIVEN = """
    a all any are be but can dear do for from go had has have her hi his how i if in is it just max me min may more much
    my new no not now of on one or our out see she so some sun that the their them then there these they this to too us
    was way we well were what when where which who why will with yes you your
"""

_CALENDAR = """
    monday tuesday wednesday thursday friday saturday sunday january february march july september october november
    december
"""

EVERYDAY = frozenset(_EVERYDAY.split())
PLACES = frozenset(_PLACES.split())
MAKERS = frozenset(_MAKERS.split())
NO_PERSON_BEFORE = frozenset(_NO_PERSON_BEFORE.split())
NEVER_GIVEN = frozenset(_NEVER_GIVEN.split())
CALENDAR = frozenset(_CALENDAR.split())
