/* The widget's own words. What the bot says comes from the server; the brand's words come from brand.yml. */

const TEXTS = {
  en: {
    open: "Open chat",
    openUnread: (count) => `Open chat, ${count} unread ${count === 1 ? "message" : "messages"}`,
    close: "Close chat",
    closeShort: "Close",
    chatWith: (name) => `Chat with ${name}`,
    automated: "Automated assistant",
    person: "Talk to a person",
    personShort: "A person",
    replyWithin: (time) => `A person answers ${time}`,
    language: "中文",
    languageLabel: "切换到中文",
    conversation: "Conversation",
    placeholder: "Write a message…",
    message: "Your message",
    send: "Send",
    you: "You",
    operator: "Our team",
    says: (name) => `${name}: `,
    typing: (name) => `${name} is typing…`,
    sending: "Sending…",
    sent: "Sent",
    notSent: "Not sent yet",
    refused: "Not sent",
    tooLong: "Too long to send",
    retry: "Retry",
    offline: "No connection. Trying again; what you write is kept and sent.",
    connecting: "Connecting…",
    retryNow: "Try now",
    forbidden: "This page may not open the chat. Please tell the shop.",
    outdated: "The chat was updated. Please reload the page.",
    restarted: "Earlier messages are no longer available here.",
    newMessages: "New messages",
    tooManyChars: (over) => `${over} ${over === 1 ? "character" : "characters"} too many`,
    charsLeft: (left) => `${left} characters left`,
    image: "Picture",
    choices: "Choices",
    download: (name) => `Download ${name}`,
    newTab: "(opens in a new tab)",
    stars: (number, max) => `${number} of ${max}`,
    imageMissing: "The picture could not be loaded.",
  },
  zh: {
    open: "打开在线客服",
    openUnread: (count) => `打开在线客服，${count} 条未读消息`,
    close: "关闭聊天",
    closeShort: "关闭",
    chatWith: (name) => `与${name}聊天`,
    automated: "自动客服",
    person: "转人工客服",
    personShort: "转人工",
    replyWithin: (time) => `人工客服回复时间：${time}`,
    language: "EN",
    languageLabel: "Switch to English",
    conversation: "聊天记录",
    placeholder: "请输入您的问题…",
    message: "您的消息",
    send: "发送",
    you: "您",
    operator: "人工客服",
    says: (name) => `${name}：`,
    typing: (name) => `${name}正在输入…`,
    sending: "发送中…",
    sent: "已发送",
    notSent: "暂未发送",
    refused: "发送失败",
    tooLong: "内容过长，无法发送",
    retry: "重试",
    offline: "网络已断开，正在重新连接。您写的内容会保留，连上后自动发送。",
    connecting: "正在连接…",
    retryNow: "立即重连",
    forbidden: "当前网页无法使用在线客服，请联系商家。",
    outdated: "在线客服已更新，请刷新页面。",
    restarted: "更早的消息已无法显示。",
    newMessages: "有新消息",
    tooManyChars: (over) => `超出 ${over} 个字`,
    charsLeft: (left) => `还可输入 ${left} 个字`,
    image: "图片",
    choices: "可选项",
    download: (name) => `下载 ${name}`,
    newTab: "（在新标签页打开）",
    stars: (number, max) => `${number} 分，满分 ${max} 分`,
    imageMissing: "图片加载失败。",
  },
};

export const LOCALES = Object.keys(TEXTS);

export function textsFor(locale) {
  return TEXTS[locale];
}

/* The nearest locale the widget speaks: zh-Hans-CN → zh, fr → en. */
export function nearestLocale(...wishes) {
  for (const wish of wishes) {
    const primary = (wish ?? "").toLowerCase().split(/[-_]/)[0];
    if (LOCALES.includes(primary)) return primary;
  }
  return "en";
}

/* A brand's words: a string, or one per language. */
export function localized(value, locale) {
  if (typeof value === "string") return value;
  return value?.[locale] ?? value?.en ?? Object.values(value ?? {})[0] ?? "";
}
