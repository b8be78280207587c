// The call that is on the screen, in the languages that make it.
import { t } from "./i18n.js";
import { STRICT } from "./server.js";

const PERMISSION = '{"permissions": {"openapi": ["img.aiCrop"]}}';
const quoted = JSON.stringify;
const shell = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** Name of a language -> {code, note} for a call: {file, type, url ("" for a file), ratios (as on the wire), focus}. */
export const LANGUAGES = { curl, Python: python, "Node.js": node, "Mini Program": miniProgram };

function curl({ file, url, ratios }) {
  const query = `access_token=ACCESS_TOKEN${url && `&img_url=${encodeURIComponent(url)}`}`;
  // curl reads ; and , in a file's name unless it stands in quotes; WeChat reads ASCII names only.
  const name = /[;,"]/.test(file) ? `"${file.replace(/[\\"]/g, "\\$&")}"` : file;
  const picture = `img=@${name}${/^[ -~]*$/.test(file) ? "" : ";filename=img.jpg"}`;
  const parts = (url ? "" : ` -F ${shell(picture)}`) + (ratios && ` -F ${shell(`ratios=${ratios}`)}`);
  return {
    code: `curl ${shell(`${location.origin}/cv/img/aicrop?${query}`)}${parts || " -X POST"}`,
    note: t(STRICT
      ? "Put a token from /cgi-bin/stable_token; WeChat is https://api.weixin.qq.com."
      : "Any token works here; WeChat is https://api.weixin.qq.com."),
  };
}

function python({ file, url, ratios, focus }) {
  if (focus.length) {
    const boxes = focus.map(([left, top, right, bottom]) => `(${left}, ${top}, ${right + 1}, ${bottom + 1})`);
    return {
      code: `${url ? "from urllib.request import urlopen" : "from pathlib import Path"}

from cloudfn import crop

picture = ${url ? `urlopen(${quoted(url)}).read()` : `Path(${quoted(file)}).read_bytes()`}
found = crop.find(picture, [${ratios.replaceAll(",", ", ")}], focus=[${boxes.join(", ")}])
print(found.boxes)`,
      note: t("The engine's own call: right and bottom are the first pixels outside."),
    };
  }
  const picture = url ? `imgUrl=${quoted(url)}` : `img=Path(${quoted(file)})`;
  return {
    code: `# config.json beside it: ${PERMISSION}
${url ? "" : "from pathlib import Path\n\n"}import cloudfn as cloud

cloud.init(backend="local")

result = cloud.openapi.img.aiCrop(${picture}${ratios && `, ratios=${quoted(ratios)}`})
print(result)`,
    note: t("Without backend WeChat answers once WX_APPID and WX_APPSECRET are set."),
  };
}

function node({ file, type, url, ratios }) {
  const picture = url ? `imgUrl: ${quoted(url)}` : `img: { contentType: ${quoted(type)}, value: fs.readFileSync(${quoted(file)}) }`;
  return {
    code: `// config.json beside it: ${PERMISSION}
${url ? "" : 'const fs = require("fs")\n'}const cloud = require("wx-server-sdk")

cloud.init({ env: cloud.DYNAMIC_CURRENT_ENV })

exports.main = async () => cloud.openapi.img.aiCrop({
  ${picture}${ratios && `,\n  ratios: ${quoted(ratios)}`}
})`,
    note: "",
  };
}

function miniProgram({ url, ratios }) {
  const upload = `const { tempFiles: [file] } = await wx.chooseMedia({ count: 1, mediaType: ["image"] })
    const { fileID } = await wx.cloud.uploadFile({ cloudPath: \`crop/\${Date.now()}.jpg\`, filePath: file.tempFilePath })
    const { fileList: [{ tempFileURL }] } = await wx.cloud.getTempFileURL({ fileList: [fileID] })
    `;
  const data = `imgUrl: ${url ? quoted(url) : "tempFileURL"}${ratios && `, ratios: ${quoted(ratios)}`}`;
  return {
    code: `Page({
  async crop() {
    ${url ? "" : upload}const { result } = await wx.cloud.callFunction({ name: "aiCrop", data: { ${data} } })
    if (result.errCode) throw new Error(result.errMsg)
    this.setData({ boxes: result.results, size: result.imgSize })
  },
})`,
    note: t("The function aiCrop is cloudfn.handler.main, or its like in Node.js."),
  };
}

/** What a call cannot say: the focus is the engine's, and WeChat's call has no parameter for it. */
export function without(language, focus) {
  return focus.length && language !== "Python" ? t("WeChat's call has no focus: only Python and cloudfn crop --focus do.") : "";
}
