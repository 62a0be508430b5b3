/** Types of `window.Kefu`, the API of the chat widget. Copy this file into your project, or reference it. */

export type KefuLanguage = "en" | "zh";

/** A button or a link that the bot offers. */
export interface KefuButton {
  title: string;
  payload?: string;
  url?: string;
}

export interface KefuCard {
  type: "card";
  title: string;
  subtitle: string;
  image_url?: string;
  buttons: KefuButton[];
}

/** What a message consists of. A newer server may send types that are not listed here. */
export type KefuPart =
  | { type: "text"; text: string }
  | { type: "buttons" | "quick_replies"; text: string; buttons: KefuButton[] }
  | KefuCard
  | { type: "carousel"; cards: KefuCard[] }
  | { type: "image"; url: string; alt: string }
  | { type: "file"; url: string; name: string; media_type: string }
  | { type: "form"; slot: string; input: "text" | "email" | "tel" | "number" | "date"; text: string }
  | { type: "rating"; text: string; max: number };

/** A file that the customer has uploaded. */
export interface KefuAttachment {
  id: string;
  name: string;
  media_type: string;
  size: number;
  url: string;
}

/** One entry of the conversation. `client_msg_id` is set on the customer's own. Of a reply that is said while it is written
 * each part is an entry: `more` follows, or it `continues` what began at that `seq`. */
export interface KefuMessage {
  seq: number;
  id: string;
  author: "customer" | "bot" | "operator" | "system";
  parts: KefuPart[];
  created_at: string;
  client_msg_id?: string;
  more?: true;
  continues?: { seq: number; joined_by: string };
}

export type KefuState = "idle" | "connecting" | "online" | "offline" | "forbidden" | "anonymous" | "outdated";

/** The events and what their listeners get. */
export interface KefuEvents {
  /** The chat is in the page. */
  ready: Record<string, never>;
  open: Record<string, never>;
  close: Record<string, never>;
  /** An entry of the conversation, the customer's own and the history's included. */
  message: KefuMessage;
  /** How many messages nobody has looked at. */
  unread: { count: number };
  /** Something was refused. `identity_required`: give the widget a fresh token with `identify`. */
  error: { code: string; message: string; client_msg_id?: string; retry_after_s?: number };
  /** The server has stored a message of the customer. */
  sent: { id: string; seq?: number };
  /** The server refused a message for good. */
  failed: { item: { id: string; text?: string }; code: string };
  typing: { on: boolean };
  state: { state: KefuState };
  locale: { locale: KefuLanguage };
}

export interface KefuApi {
  readonly version: 1;
  open(): Promise<void>;
  close(): Promise<void>;
  toggle(): Promise<void>;
  /** Say something in the customer's name; resolves to the message's id. `payload` is read by the bot, `title` is shown. */
  send(message: string | { text: string } | { payload: string; title: string }): Promise<string>;
  /** The identity token that your server has signed for this customer; null when they sign out. */
  identify(token: string | null): Promise<void>;
  /** What the page knows about this visit (the bot finds it as `metadata.context`); null takes a value back. */
  setContext(context: Record<string, unknown>): Promise<void>;
  setLocale(language: string): Promise<void>;
  /** Returns the function that takes the listener away. */
  on<Name extends keyof KefuEvents>(name: Name, listener: (detail: KefuEvents[Name]) => void): () => void;
  off<Name extends keyof KefuEvents>(name: Name, listener: (detail: KefuEvents[Name]) => void): void;
  destroy(): Promise<void>;
}

declare global {
  interface Window {
    Kefu: KefuApi;
  }
  const Kefu: KefuApi;
}
