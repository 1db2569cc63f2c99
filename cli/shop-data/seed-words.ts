// The words of a made-up shop, in English and Korean: 12 departments with 10 kinds of goods each,
// and 24 uses of each kind make some 3,000 categories.

type Word = readonly [english: string, korean: string]

/** An attribute of a product: values to choose from, numbers from a range, or yes and no. */
export type AttributeRule =
  | readonly [name: string, values: readonly string[]]
  | readonly [name: string, from: number, to: number]
  | readonly [name: string]

/** Options of which a product is made in several variants. */
export type OptionRule = readonly [name: string, values: readonly string[]]

export type Department = {
  name: Word
  /** Singular. */
  kinds: readonly Word[]
  uses: readonly Word[]
  attributes: readonly AttributeRule[]
  options: readonly OptionRule[]
  /** Prices of most of its goods, in whole units of money. */
  price: readonly [from: number, to: number]
}

const words = (text: string): Word[] =>
  text.split(',').map((pair) => {
    const [english, korean] = pair.trim().split('/') as [string, string]
    return [english, korean]
  })
const list = (text: string) => text.split(' ')

const atHome = words(
  'Everyday/일상,Travel/여행용,Outdoor/야외용,Kids/어린이,Office/사무용,Gift/선물용,Vintage/빈티지,Modern/모던,' +
    'Compact/소형,Large/대형,Premium/프리미엄,Budget/실속,Foldable/접이식,Handmade/수제,Nordic/북유럽,Rustic/러스틱,' +
    'Balcony/발코니,Bathroom/욕실,Bedroom/침실,Kitchen/주방,Hallway/현관,Studio/원룸,Family/가족,Camping/캠핑',
)
const toWear = words(
  "Women's/여성,Men's/남성,Girls'/여아,Boys'/남아,Unisex/공용,Maternity/임부,Petite/아담,Tall/롱,Plus-Size/빅사이즈," +
    'Running/러닝,Yoga/요가,Hiking/등산,Winter/겨울,Summer/여름,Rain/우천,Formal/정장,Casual/캐주얼,Party/파티,' +
    'School/학교,Work/작업,Lounge/홈웨어,Travel/여행,Vintage/빈티지,Organic/유기농',
)
const toUse = words(
  'Wireless/무선,Wired/유선,Portable/휴대용,Professional/전문가용,Beginner/입문용,Gaming/게이밍,Office/사무용,' +
    'Waterproof/방수,Rugged/튼튼한,Silent/저소음,Fast/고속,Smart/스마트,Mini/미니,Heavy-Duty/고강도,Refurbished/리퍼,' +
    'Rechargeable/충전식,Solar/태양광,Car/차량용,Studio/스튜디오,School/학습용,Travel/여행용,Desktop/탁상용,' +
    'Lightweight/초경량,Family/가족용',
)
const toEnjoy = words(
  'Classic/클래식,New/신작,Award-Winning/수상작,Organic/유기농,Local/국산,Imported/수입,Kids/어린이,Teens/청소년,' +
    'Family/가족,Gift/선물,Limited/한정,Collector/수집가,Pocket/포켓,Deluxe/디럭스,Seasonal/계절,Holiday/명절,' +
    'Vegan/비건,Sugar-Free/무설탕,Large/대용량,Single/낱개,Starter/스타터,Advanced/고급,Bilingual/이중언어,Sampler/모음',
)

const colours = list('Red Sand Navy Moss Chalk Ink Rose Amber Teal Slate Plum Olive')
const materials = list('clay copper oak linen steel glass wool bamboo cork marble cotton brass leather ceramic pine')
const countries = list('KR DE IT PT JP US VN IN PL SE TR MX')
const textiles = list('cotton wool linen polyester nylon viscose denim fleece silk hemp')

const common: AttributeRule[] = [['countryOfOrigin', countries], ['weightGrams', 40, 9_000], ['recyclable']]
const ofHome: AttributeRule[] = [
  ['material', materials],
  ['finish', list('matt gloss oiled raw lacquered brushed')],
  ['widthCm', 5, 220],
  ['heightCm', 3, 240],
  ['depthCm', 3, 120],
  ['style', list('modern rustic nordic classic industrial japandi')],
  ['room', list('kitchen bedroom bathroom living-room hallway balcony')],
  ['assemblyRequired'],
  ['handmade'],
  ['dishwasherSafe'],
  ['warrantyYears', 1, 10],
  ['pattern', list('plain striped checked floral geometric')],
]
const ofWear: AttributeRule[] = [
  ['material', textiles],
  ['fit', list('slim regular relaxed oversized')],
  ['season', list('spring summer autumn winter all-year')],
  ['washing', list('30-degrees 40-degrees by-hand dry-clean')],
  ['pattern', list('plain striped checked floral dotted')],
  ['sleeve', list('none short three-quarter long')],
  ['neckline', list('round v-neck collar hood polo')],
  ['stretch'],
  ['organic'],
  ['lined'],
]
const ofGear: AttributeRule[] = [
  ['batteryHours', 2, 60],
  ['chargingMinutes', 15, 240],
  ['powerWatts', 1, 2_400],
  ['voltage', list('5V 12V 100-240V 220V')],
  ['connector', list('usb-c usb-a lightning barrel none')],
  ['bluetooth', list('none 4.2 5.0 5.2 5.3')],
  ['wifi', list('none wifi-5 wifi-6 wifi-6e wifi-7')],
  ['waterResistance', list('none ipx4 ipx7 ip67 ip68')],
  ['energyClass', list('A B C D E F')],
  ['noiseDb', 12, 80],
  ['warrantyYears', 1, 10],
  ['displayInch', 1, 75],
  ['resolution', list('none hd full-hd 2k 4k 8k')],
  ['memoryGb', 1, 64],
  ['storageGb', 8, 4_000],
  ['cableCm', 20, 300],
  ['maxLoadKg', 1, 200],
  ['operatingSystem', list('none android linux own')],
  ['material', list('aluminium steel plastic carbon magnesium glass')],
  ['smartHome', list('none matter zigbee thread')],
  ['sensors', list('none motion light temperature gps')],
  ['dimmable'],
  ['foldable'],
  ['replaceableBattery'],
  ['remoteControl'],
  ['certified'],
  ['formFactor', list('handheld desktop wall in-ear over-ear rack')],
]
const ofMedia: AttributeRule[] = [
  ['language', list('en ko de fr ja es')],
  ['ageFrom', 0, 18],
  ['pages', 24, 1_200],
  ['format', list('hardcover paperback box card digital')],
  ['year', 1960, 2026],
]
const ofFood: AttributeRule[] = [
  ['netGrams', 20, 5_000],
  ['allergens', list('none milk nuts soy gluten egg')],
]

const coloured: OptionRule = ['Colour', colours]
const sized: OptionRule = ['Size', list('XS S M L XL XXL')]

const department = (
  name: Word,
  kinds: string,
  rest: Pick<Department, 'uses' | 'attributes' | 'options' | 'price'>,
): Department => ({ name, kinds: words(kinds), ...rest, attributes: [...common, ...rest.attributes] })

export const departments: Department[] = [
  department(
    ['Home & Garden', '홈·가든'],
    'Plant Pot/화분,Lantern/랜턴,Vase/꽃병,Candle/양초,Mirror/거울,Rug/러그,Cushion/쿠션,Watering Can/물뿌리개,' +
      'Storage Basket/수납 바구니,Wall Clock/벽시계',
    { uses: atHome, attributes: ofHome, options: [coloured, ['Size', list('Small Medium Large')]], price: [6, 120] },
  ),
  department(
    ['Kitchen & Dining', '주방'],
    'Mug/머그컵,Bowl/그릇,Cutting Board/도마,Kettle/주전자,Frying Pan/프라이팬,Chef Knife/식칼,Teapot/찻주전자,' +
      'Lunch Box/도시락,Spice Rack/양념 선반,Apron/앞치마',
    { uses: atHome, attributes: ofHome, options: [coloured, ['Volume', list('250ml 400ml 1l')]], price: [5, 150] },
  ),
  department(
    ['Furniture', '가구'],
    'Chair/의자,Stool/스툴,Bench/벤치,Desk/책상,Side Table/협탁,Bookshelf/책장,Chest/서랍장,Bed Frame/침대,Sofa/소파,' +
      'Coat Rack/옷걸이',
    { uses: atHome, attributes: ofHome, options: [['Wood', list('Oak Pine Walnut Beech')]], price: [40, 1_500] },
  ),
  department(
    ['Clothing', '의류'],
    'Shirt/셔츠,Jumper/스웨터,Jacket/재킷,Trousers/바지,Skirt/치마,Dress/원피스,Coat/코트,T-Shirt/티셔츠,' +
      'Pyjamas/잠옷,Socks/양말',
    { uses: toWear, attributes: ofWear, options: [sized, coloured], price: [8, 240] },
  ),
  department(
    ['Shoes & Bags', '신발·가방'],
    'Sneaker/운동화,Boot/부츠,Sandal/샌들,Loafer/로퍼,Slipper/슬리퍼,Backpack/배낭,Tote Bag/토트백,Wallet/지갑,' +
      'Belt/벨트,Suitcase/여행가방',
    { uses: toWear, attributes: ofWear, options: [['Size', list('36 38 40 42 44 46')], coloured], price: [12, 320] },
  ),
  department(
    ['Electronics', '전자제품'],
    'Headphones/헤드폰,Keyboard/키보드,Mouse/마우스,Monitor/모니터,Speaker/스피커,Charger/충전기,Camera/카메라,' +
      'Router/공유기,Tablet/태블릿,Smart Watch/스마트워치',
    {
      uses: toUse,
      attributes: ofGear,
      options: [
        ['Colour', list('Black White Silver Blue')],
        ['Storage', list('64GB 128GB 256GB 512GB')],
      ],
      price: [15, 1_800],
    },
  ),
  department(
    ['Appliances', '가전'],
    'Vacuum Cleaner/청소기,Fan/선풍기,Heater/히터,Rice Cooker/밥솥,Blender/믹서기,Toaster/토스터,Air Purifier/공기청정기,' +
      'Humidifier/가습기,Coffee Machine/커피머신,Iron/다리미',
    { uses: toUse, attributes: ofGear, options: [['Colour', list('Black White Grey')]], price: [20, 900] },
  ),
  department(
    ['Tools & DIY', '공구'],
    'Drill/드릴,Hammer/망치,Screwdriver/드라이버,Saw/톱,Ladder/사다리,Toolbox/공구함,Work Light/작업등,Sander/연마기,' +
      'Tape Measure/줄자,Glue Gun/글루건',
    { uses: toUse, attributes: ofGear.slice(0, 14), options: [['Set', list('Single Pair Kit')]], price: [5, 400] },
  ),
  department(
    ['Sports & Outdoors', '스포츠·아웃도어'],
    'Tent/텐트,Sleeping Bag/침낭,Stove/버너,Helmet/헬멧,Bicycle Light/자전거 전조등,Water Bottle/물병,Yoga Mat/요가 매트,' +
      'Dumbbell/아령,Fishing Rod/낚싯대,Hiking Pole/등산 스틱',
    { uses: toUse, attributes: ofGear.slice(6, 18), options: [coloured, ['Size', list('S M L')]], price: [8, 600] },
  ),
  department(
    ['Toys & Games', '장난감·게임'],
    'Jigsaw Puzzle/직소 퍼즐,Board Game/보드게임,Model Train/모형 기차,Doll/인형,Building Blocks/블록,Kite/연,' +
      'Card Game/카드게임,Robot/로봇,Teddy Bear/곰인형,Marble Run/구슬길',
    { uses: toEnjoy, attributes: ofMedia, options: [['Pieces', list('100 500 1000 2000')]], price: [6, 140] },
  ),
  department(
    ['Books', '도서'],
    'Novel/소설,Cookbook/요리책,Travel Guide/여행 안내서,Picture Book/그림책,Poetry Collection/시집,Dictionary/사전,' +
      'Comic/만화,Biography/전기,Atlas/지도책,Textbook/교과서',
    { uses: toEnjoy, attributes: ofMedia, options: [['Format', list('Hardcover Paperback')]], price: [5, 80] },
  ),
  department(
    ['Food & Drink', '식품'],
    'Green Tea/녹차,Coffee/커피,Chocolate/초콜릿,Honey/꿀,Olive Oil/올리브유,Kimchi/김치,Noodles/국수,Jam/잼,' +
      'Rice Cake/떡,Spice Mix/향신료',
    { uses: toEnjoy, attributes: ofFood, options: [['Pack', list('1 3 6 12')]], price: [3, 60] },
  ),
]

export const adjectives = words(
  'Quiet/고요한,Sturdy/튼튼한,Bright/밝은,Slim/얇은,Little/작은,Grand/웅장한,Velvet/벨벳,Coastal/해안,Amber/호박색,' +
    'Honest/정직한,Hollow/속이 빈,Golden/황금,Silver/은빛,Gentle/부드러운,Bold/대담한,Misty/안개 낀,Sunny/화창한,' +
    'Northern/북쪽,Wild/야생,Calm/차분한,Swift/빠른,Soft/포근한,Crisp/산뜻한,Deep/깊은',
)
/** Names of series, made of two halves. */
export const seriesStarts = list('Ar Bel Cor Dal El Fen Gal Hol Il Jun Kal Lum Mar Nor Or Pel Quin Ros Sol Tam Ul Ver')
export const seriesEnds = list('a ano ba do en eo ia is mo na on ora os ra ta un va we xa yo')
export const vendorNames = list(
  'Harbour Meadow Atlas Juniper Foundry Lantern Willow Granite Cedar Orchard Beacon Thistle Heron Cobalt Maple Saffron',
)
export const vendorKinds = [
  'Works',
  'Goods',
  'LTD',
  '& Daughters',
  'Studio',
  'Supply',
  '상회',
  '공방',
  'GmbH',
  'Atelier',
]
export const firstNames = list('Ada Ben Chloé Dmitri Ēriks Fatima Grace Hana Ivan José Kenji Léa Minjun Seoyeon Jiwoo')
export const lastNames = list('Alvarez Brown Chen Dubois Eriksson Fischer García Haddad Ito Jensen Kim Lee Park')
